"""CBLR, the paper's curvature-based learning rate: the radius of curvature itself."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers import hessian_diagonal
from trainables.optimizers.layerwise import EXCLUDED_LR, Batch, LayerWise
from trainables.optimizers.memory import in_memory_order, side_by_side
from trainables.optimizers.options import COUNT, FLAG, SHARE, Rule, one_of
from trainables.optimizers.settings import Floor, LayerWiseSettings, RMax
from trainables.optimizers.tensor_statistics import medians, thinned, wide
from trainables.optimizers.tensorwise import LR, largest_step
from trainables.settings import about

R_MAX = 100.0
FLOOR = 1e-12
PIECE = 1 << 18  # A CPU takes this many entries at a time, whose dozen temporaries stay in its cache.
SHOWN = 4096  # `radii` gives the median over about this many entries of a tensor.
Estimator = Literal["hutchinson", "gnb", "exact"]


def radius(g: Tensor, h: Tensor, floor: float) -> Tensor:
    """R = (1 + g²)^{3/2} / |h|, entry by entry: paper (9), |h| floored; infinite where g² overflows."""
    square = g.square().add_(1)
    return square.sqrt().mul_(square).div_(h.abs().clamp_min_(floor))


class CBLR(LayerWise):
    """v ← m v + γ s R ⊙ (g + βw); w ← w - v, with R_i = (1 + g_i²)^{3/2} / |h_ii|: paper (9), (10).

    Under decay g is g + βw and h is h + β. It needs the Hessian's diagonal h, so it runs the backward pass:

        optimizer = CBLR(model.parameters(), lr=0.01)
        for images, labels in batches:
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            optimizer.backward(loss)  # in place of loss.backward()
            optimizer.step()

    One forward pass serves both, so dropout and batch norm see nothing unusual. Micro-batches: call
    `backward` for each with its share of the batch's loss; gradients and curvatures add up alike.
    An h of your own goes to `optimizer.state[p]["curvature"]`, shaped as p, before `step`.

    Arguments, beside those of `LayerWise`:
        curvature: "hutchinson", "gnb" (Gauss–Newton–Bartlett: cross-entropy only, wants logits), or "exact"
            (a backward pass an entry: small nets).
        samples: random vectors, or draws of labels, averaged in a refresh.
        interval: steps from refresh to refresh; the others cost what momentum SGD's do and a little.
        ema: h ← ema·h + (1 - ema)·estimate, in [0, 1); the first estimate counts whole.
        layer_wise: one R a tensor, the median of its R_i (the lower of two), which MCLR approximates.
        floor: least |h|. r_max: cap on R; flat directions have it, so γ·r_max is the largest rate.
        seed: of the random draws, which depend on it and the number of the step alone; None: torch's.

    The guards `floor` and `r_max` count the steps in which they changed any entry's radius (layer-wise: `r_max` the
    median's).
    An estimate that is not finite leaves its entry as it was.
    Not for GradScaler (scaled losses have scaled curvatures; use bfloat16) nor DistributedDataParallel.
    Errors: `step` raises RuntimeError before anything moved where a tensor's curvature was never estimated.
    """

    rules: ClassVar[dict[str, Rule]] = {
        "curvature": one_of("hutchinson", "gnb", "exact"),
        "samples": COUNT,
        "interval": COUNT,
        "ema": SHARE,
        "layer_wise": FLAG,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = LR,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        curvature: Estimator = "hutchinson",
        samples: int = 1,
        interval: int = 10,
        ema: float = 0.9,
        layer_wise: bool = False,
        seed: int | None = None,
        excluded_lr: float = EXCLUDED_LR,
        exclude: str = "1d",
        r_max: float = R_MAX,
        floor: float = FLOOR,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        own: dict[str, Any] = {"curvature": curvature, "samples": samples, "interval": interval, "ema": ema}
        own |= {"layer_wise": layer_wise, "seed": torch.initial_seed() if seed is None else seed, "steps": 0}
        super().__init__(
            params, lr, momentum, weight_decay, excluded_lr=excluded_lr, exclude=exclude, r_max=r_max, floor=floor,
            maximize=maximize, foreach=foreach, **own,
        )  # fmt: skip

    def _remember_nothing(self) -> None:
        super()._remember_nothing()
        # The curvature's estimates of the step under way, summed over its micro-batches.
        self._estimates: dict[Tensor, Tensor] = {}

    # Curvature

    @property
    def due(self) -> bool:
        """Whether the coming step refreshes the curvature: every `interval` steps, and where there is none yet."""
        first = self.param_groups[0]
        return first["steps"] % first["interval"] == 0 or any(
            "curvature" not in self.state.get(p, ()) for p in self._curved() if p not in self._estimates
        )

    def _curved(self) -> list[Tensor]:
        """The parameters that want a curvature."""
        pairs = ((group, p) for group in self.param_groups for p in group["params"])
        return [p for group, p in pairs if p.requires_grad and not self.excludes(group, p)]

    def backward(self, loss: Tensor, logits: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Adds to `p.grad` the gradient of `loss`, and where a refresh is due estimates the curvature.

        For this optimizer's parameters only. The options of the first group hold for all.

        Arguments:
            loss: a scalar with its graph, which is freed.
            logits: (n, classes) that the loss came from, for "gnb"; others ignore them.
            weights: (n,), what each sample weighs in the loss; None: 1/n, as in a mean.

        Raises ValueError for "gnb" without logits, and RuntimeError where the model has no second derivatives, which
        the other estimators need; `p.grad` is then as it was.
        """
        params = [p for group in self.param_groups for p in group["params"] if p.requires_grad]
        if not self.due:
            torch.autograd.backward(loss, inputs=params)
            return
        curved = self._curved()
        if self.param_groups[0]["curvature"] == "gnb":
            self._estimate_from_logits(curved, logits, weights)
            torch.autograd.backward(loss, inputs=params)
            return
        grads = dict(zip(params, torch.autograd.grad(loss, params, create_graph=True, allow_unused=True), strict=True))
        with _second_derivatives():
            self._estimate_from_gradients(curved, [grads[p] for p in curved])
        for p, g in grads.items():
            if g is not None:
                p.grad = g.detach() if p.grad is None else p.grad.add_(g.detach())

    def _estimate_from_gradients(self, params: list[Tensor], grads: hessian_diagonal.Gradients) -> None:
        options = self.param_groups[0]
        if not params:
            return
        if options["curvature"] == "exact":
            self._add(params, hessian_diagonal.exact(grads, params))
            return
        for sample in range(options["samples"]):
            signs = hessian_diagonal.random_signs(params, self._generator(params[0].device, sample))
            last = sample + 1 == options["samples"]
            self._add(params, hessian_diagonal.hutchinson(grads, params, signs, retain=not last), options["samples"])

    def _estimate_from_logits(self, params: list[Tensor], logits: Tensor | None, weights: Tensor | None) -> None:
        if logits is None:
            raise ValueError('logits = None: curvature="gnb" draws labels from them; call backward(loss, logits)')
        if not params:
            return
        if weights is None:
            weights = logits.new_full((len(logits),), 1 / len(logits))
        samples = self.param_groups[0]["samples"]
        for sample in range(samples):
            generator = self._generator(logits.device, sample)
            self._add(params, hessian_diagonal.gauss_newton_bartlett(logits, weights, params, generator), samples)

    def _add(self, params: list[Tensor], estimates: list[Tensor], samples: int = 1) -> None:
        for p, estimate in zip(params, estimates, strict=True):
            share = estimate.detach() if samples == 1 else estimate.detach() / samples
            self._estimates[p] = self._estimates[p].add_(share) if p in self._estimates else share

    def _generator(self, device: torch.device, sample: int) -> torch.Generator:
        """The same for every micro-batch of a step, and after a restart."""
        words = repr((self.param_groups[0]["seed"], self.param_groups[0]["steps"], sample)).encode()
        digest = hashlib.blake2b(words, digest_size=8).digest()
        return torch.Generator(device).manual_seed(int.from_bytes(digest, "big") >> 1)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, and the curvature estimated with them."""
        super().zero_grad(set_to_none)
        self._estimates.clear()

    # The step

    def _begin(self) -> None:
        for p in self._curved():
            if p in self._estimates:
                self._refresh(p, self._estimates[p])
            elif p.grad is not None and p.grad.layout == torch.strided and "curvature" not in self.state.get(p, ()):
                raise RuntimeError(
                    f"CBLR has no curvature of a parameter of shape {tuple(p.shape)}; "
                    "call optimizer.backward(loss) in place of loss.backward()"
                )
        for group in self.param_groups:
            group["steps"] += 1
        self._estimates.clear()

    def _refresh(self, p: Tensor, estimate: Tensor) -> None:
        old, ema = self.state[p].get("curvature"), self.param_groups[0]["ema"]
        if old is None:
            self.state[p]["curvature"] = estimate.nan_to_num(0.0, 0.0, 0.0)
            return
        whole = not (estimate.device.type == "cpu" and side_by_side(estimate, old))
        pieces = (
            [(estimate, old)]
            if whole
            else zip(*(torch.split(in_memory_order(x), PIECE) for x in (estimate, old)), strict=True)
        )
        for new, h in pieces:
            if whole or not math.isfinite(float(torch.linalg.vector_norm(new, math.inf))):
                new = torch.where(new.isfinite(), new, h)
            # torch.lerp would overflow where the two differ by more than a float holds.
            h.mul_(ema).add_(new, alpha=1 - ema)

    def _fits(self, group: dict[str, Any], p: Tensor, g: Tensor) -> bool:
        return self.excludes(group, p) and super()._fits(group, p, g)

    def _update(self, options: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        if options["excluded"] or options["layer_wise"]:
            super()._update(options, params, grads)
            return
        fired = torch.stack([self._move(options, w, g) for w, g in zip(params, grads, strict=True)])
        names = ("floor", "r_max", "overflow")
        shown = Batch([thinned(w, SHOWN) for w in params], [thinned(g, SHOWN) for g in grads], options)
        curvatures = [thinned(self.state[w]["curvature"], SHOWN) for w in params]
        radii = medians(_radii(shown, curvatures)).clamp_max(options["r_max"])
        self._record(params, dict(zip(names, fired.unbind(1), strict=True)), radii)

    def _move(self, options: dict[str, Any], w: Tensor, g: Tensor) -> Tensor:
        """One tensor's step, each entry at its own rate; which guards fired, (3,)."""
        tensors = [w, g, self._buffer(w), self.state[w]["curvature"]]
        if w.numel() == 0:
            return torch.zeros(3, dtype=torch.bool, device=w.device)
        if w.device.type == "cpu" and side_by_side(*tensors):
            # Piece by piece, for temporaries that stay in cache cost nothing beside the arithmetic.
            pieces = zip(*(torch.split(in_memory_order(x), PIECE) for x in tensors), strict=True)
            return torch.stack([_move(options, *piece) for piece in pieces]).any(0)
        return _move(options, *tensors)

    def _guarded_radius(self, options: dict[str, Any], batch: Batch) -> Tensor:
        curvatures = [self.state[w]["curvature"] for w in batch.weights]
        free = medians(_radii(batch, curvatures))
        batch.fired["floor"] = torch.stack([(_decayed(h, options) < options["floor"]).any() for h in curvatures])
        batch.fired["r_max"] = free > options["r_max"]
        return free.clamp_max(options["r_max"])


@contextmanager
def _second_derivatives() -> Iterator[None]:
    """Says what to do where torch has no derivative of a backward pass."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise RuntimeError(
            "CBLR needs second derivatives and this loss has none, as with fast attention and compiled models. "
            'Use curvature="gnb" with backward(loss, logits), which needs first derivatives only'
        ) from error


def _decayed(h: Tensor, options: Mapping[str, Any]) -> Tensor:
    """|h + β|, of -h where the loss is maximised; a tensor of its own."""
    if not options["weight_decay"]:
        return wide(h).abs()
    return torch.add(options["weight_decay"], wide(h), alpha=-1 if options["maximize"] else 1).abs_()


def _radii(batch: Batch, curvatures: list[Tensor]) -> Iterator[Tensor]:
    """R_i of each tensor, |h| floored, not capped."""
    for d, h in zip(batch.decayed(), curvatures, strict=True):
        yield radius(wide(d), _decayed(h, batch.options), batch.options["floor"])


def _move(options: dict[str, Any], w: Tensor, g: Tensor, v: Tensor, h: Tensor) -> Tensor:
    """The step of entries side by side; whether floor, cap and overflow guard changed any of them, (3,)."""
    beta, momentum, r_max = options["weight_decay"], options["momentum"], options["r_max"]
    d = torch.add(wide(g), wide(w), alpha=beta) if beta else wide(g)
    h = _decayed(h, options)
    bound = largest_step(w.dtype, momentum)
    if w.device.type == "cpu":
        reach = float(torch.linalg.vector_norm(d, math.inf))
        if reach * r_max * options["lr"] <= bound:
            return _move_freely(options, w, v, d, h, reach)
    if beta:  # finite g + βw may be beyond the largest float, and a rate of 0 times infinity is no number
        d.clamp_(-torch.finfo(d.dtype).max, torch.finfo(d.dtype).max)
    flat = h.amin() < options["floor"]
    free = radius(d, h, options["floor"])
    capped = free.amax() > r_max
    # Times R this rate is finite, so that a gradient of 0 gives a step of 0.
    rate = min(float(options["lr"]), torch.finfo(d.dtype).max / r_max)
    step = free.clamp_max_(r_max).mul_(rate).mul_(d)
    cut = (torch.linalg.vector_norm(step, math.inf) > bound) | bool(rate < options["lr"])
    # 0 · g is added because a non-finite gradient is none of this guard's business: it propagates.
    step = step.clamp_(-bound, bound).add_(wide(g), alpha=0.0)
    w.sub_(v.mul_(momentum).add_(step))
    return torch.stack([flat, capped, cut])


def _move_freely(options: dict[str, Any], w: Tensor, v: Tensor, d: Tensor, h: Tensor, reach: float) -> Tensor:
    """`_move` where no entry of `d`, all of them within `reach`, can overflow: as few passes as will do."""
    least = float(h.amin())
    flat = least < options["floor"]
    if flat:
        h.clamp_min_(options["floor"])
    if 3 * reach * reach < torch.finfo(d.dtype).eps:  # Then (1 + g²)^{3/2} rounds to 1.
        free = h.reciprocal_()
    else:
        free = torch.mul(d, d).add_(1)
        free = free.sqrt().mul_(free).div_(h)
    capped = bool(free.amax() > options["r_max"])
    if capped:
        free.clamp_max_(options["r_max"])
    w.sub_(v.mul_(options["momentum"]).addcmul_(free, d, value=float(options["lr"])))
    return torch.tensor([flat, capped, False])


class CBLRSettings(LayerWiseSettings):
    """`optimizer: {name: cblr, gamma: …}`"""

    torch_class: ClassVar[type[Optimizer]] = CBLR
    name: Literal["cblr"] = "cblr"
    curvature: Annotated[Estimator, about("h", "the Hessian's diagonal, estimated", source="paper (9)")] = "hutchinson"
    samples: Annotated[int, about("", "random vectors averaged in an estimate of the curvature", ge=1)] = 1
    interval: Annotated[int, about("", "steps from one estimate of the curvature to the next", ge=1)] = 10
    ema: Annotated[float, about("", "weight of the earlier estimates of the curvature", ge=0, lt=1)] = 0.9
    layer_wise: Annotated[bool, about("", "one radius a tensor, its median", source="paper 4.2")] = False
    r_max: RMax = R_MAX
    floor: Floor = FLOOR

    @property
    def period(self) -> int:
        return self.interval
