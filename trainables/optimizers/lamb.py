"""LAMB (You et al. 2019): Adam's direction, with the length of the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainables.optimizers import fused, kernels
from trainables.optimizers.memory import side_by_side
from trainables.optimizers.options import SHARE, Rule, at_least
from trainables.optimizers.settings import Exclude, OptimizerSettings
from trainables.optimizers.tensor_statistics import norms
from trainables.optimizers.tensorwise import LR, TensorWise, add_scaled, largest_step, scalars, use_foreach
from trainables.settings import Beta, Gamma, about

if TYPE_CHECKING:
    from trainables.optimizers.kernels.walks import Walk

BETA2 = 0.999
EPS = 1e-6


class LAMB(TensorWise):
    """w ← w - γ s R u, u = m̂/(√v̂ + ε) + βw, R = ‖w‖₂/‖u‖₂: You et al. 2019, algorithm 2 with φ the identity.

    R is 1 where a norm is 0, counted by the guard `zero_norm`, and for excluded tensors, which share lr and have no
    decay. A step that is captured as a CUDA graph repeats its bias correction, that of the step's number then.

    Arguments:
        params, lr, weight_decay, exclude, maximize, foreach: as in `LayerWise`.
        momentum, beta2: decay of the means of g and g², in [0, 1). eps: ε, at least 1e-30.

    Errors: see `TensorWise`.
    """

    rules: ClassVar[dict[str, Rule]] = {"beta2": SHARE, "eps": at_least(1e-30)}
    guard_names: ClassVar[tuple[str, ...]] = ("zero_norm", "overflow")
    entries: ClassVar[int | None] = 1 << 20

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = LR,
        momentum: float = 0.9,
        beta2: float = BETA2,
        eps: float = EPS,
        weight_decay: float = 0.0,
        *,
        exclude: str = "1d",
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "exclude": exclude, "maximize": maximize, "foreach": foreach})

    def _update(self, options: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        together = use_foreach(options["foreach"], params[0])
        states = [self._moments(p) for p in params]
        if together:
            directions = _directions_together(options, params, grads, states)
        else:
            directions = _directions_one_by_one(options, params, grads, states, self._scratch(params))
        lengths = norms(directions)
        fired: dict[str, Tensor] = {}
        radius = None
        if not options["excluded"]:
            w = norms(params)
            fired["zero_norm"] = (w == 0) | (lengths == 0)
            # An infinite ratio, of a denormal length, would turn a rate of 0 into NaN.
            ratio = (w / lengths).clamp_max(torch.finfo(lengths.dtype).max)
            radius = torch.where(fired["zero_norm"], 1.0, ratio)
        rates = options["lr"] * (torch.ones_like(lengths) if radius is None else radius)
        rates, fired["overflow"] = self._bounded(rates, lengths, params[0].dtype, momentum=0.0)
        if together:
            torch._foreach_sub_(params, torch._foreach_mul(directions, list(rates.unbind())))
        else:
            for p, u, rate in zip(params, directions, scalars(rates), strict=True):
                add_scaled(p, u, -rate)
        self._record(params, fired, radius)

    def _fits(self, group: dict[str, Any], p: Tensor, g: Tensor) -> bool:
        return kernels.fits(group["foreach"], p, g)

    def _update_by_kernels(self, group: dict[str, Any], walk: Walk, grads: list[Tensor]) -> None:
        counts = [self._moments(p)["step"] for p in walk.params]
        for count in dict.fromkeys(counts):  # nearly always one
            places = [place for place, own in enumerate(counts) if own == count]
            self._move_by_kernels(group, walk.part(places), [grads[place] for place in places], count)

    def _move_by_kernels(self, group: dict[str, Any], walk: Walk, grads: list[Tensor], count: int) -> None:
        """A step, the `count`-th of each of the tensors."""
        from trainables.optimizers.kernels import adam, guards

        states = (self._states_of(walk, name) for name in ("mean", "mean_square"))
        step = walk.step(grads, self._counters_of(walk), *states)
        bias, bias2 = _biases(group, {"step": count})
        means = adam.Means(
            group["momentum"],
            group["beta2"],
            bias / bias2**0.5,
            bias * group["eps"],
            *(self._options(group, which)["weight_decay"] for which in (False, True)),
        )
        sums = adam.average(step, means)
        adam.move(step, means, guards.lamb_rates(step, sums, group["lr"], largest_step(walk.dtype, 0.0)))
        self._radius.update(walk.radius_of)

    def _remember_nothing(self) -> None:
        super()._remember_nothing()
        self._memory = torch.empty(0)

    def _scratch(self, params: list[Tensor]) -> list[Tensor]:
        """Room for the directions, used again by every batch: fresh memory costs a CPU more than the arithmetic."""
        p, sizes = params[0], [p.numel() for p in params]
        if self._memory.numel() < sum(sizes) or self._memory.dtype != p.dtype or self._memory.device != p.device:
            self._memory = torch.empty(sum(sizes), dtype=p.dtype, device=p.device)
        parts = torch.split(self._memory[: sum(sizes)], sizes)
        pairs = zip(parts, params, strict=True)
        return [part.as_strided(p.shape, p.stride()) if side_by_side(p) else part.view(p.shape) for part, p in pairs]

    def _moments(self, p: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[p]
        if not state:
            state.update(step=0, mean=torch.zeros_like(p), mean_square=torch.zeros_like(p))
        state["step"] += 1
        return state


def _directions_one_by_one(
    options: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[dict[str, Any]], room: list[Tensor]
) -> list[Tensor]:
    directions = []
    for w, g, state, u in zip(params, grads, states, room, strict=True):
        mean, square = state["mean"], state["mean_square"]
        # The kernel takes g - m, which could overflow.
        if fused.fits(w, mean, square, g, u) and float(torch.linalg.vector_norm(g)) < fused.LARGEST:
            directions.append(fused.adam(u, w, mean, square, g, options, state["step"]))
            continue
        mean.mul_(options["momentum"]).add_(g, alpha=1 - options["momentum"])
        square.mul_(options["beta2"]).addcmul_(g, g, value=1 - options["beta2"])
        bias, bias2 = _biases(options, state)
        torch.sqrt(square, out=u).mul_(bias / bias2**0.5).add_(bias * options["eps"])
        torch.div(mean, u, out=u)
        directions.append(u.add_(w, alpha=options["weight_decay"]) if options["weight_decay"] else u)
    return directions


def _directions_together(
    options: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[dict[str, Any]]
) -> list[Tensor]:
    means, squares = [s["mean"] for s in states], [s["mean_square"] for s in states]
    torch._foreach_mul_(means, options["momentum"])
    torch._foreach_add_(means, grads, alpha=1 - options["momentum"])
    torch._foreach_mul_(squares, options["beta2"])
    torch._foreach_addcmul_(squares, grads, grads, value=1 - options["beta2"])
    biases = [_biases(options, state) for state in states]
    roots = torch._foreach_sqrt(squares)
    torch._foreach_mul_(roots, [bias / bias2**0.5 for bias, bias2 in biases])
    torch._foreach_add_(roots, [bias * options["eps"] for bias, _ in biases])
    directions = torch._foreach_div(means, roots)
    if options["weight_decay"]:
        torch._foreach_add_(directions, params, alpha=options["weight_decay"])
    return list(directions)


def _biases(options: dict[str, Any], state: dict[str, Any]) -> tuple[float, float]:
    """What a mean that started at 0 still lacks: m̂ = m / (1 - m^t), v̂ = v / (1 - β₂^t)."""
    return 1 - options["momentum"] ** state["step"], 1 - options["beta2"] ** state["step"]


class LAMBSettings(OptimizerSettings):
    """`optimizer: {name: lamb, gamma: …}`"""

    rate: ClassVar[str] = "gamma"

    name: Literal["lamb"] = "lamb"
    gamma: Gamma
    beta: Beta = 0.0
    momentum: Annotated[float, about("m", "decay of the mean of g", source="You 2019", ge=0, lt=1)] = 0.9
    beta2: Annotated[float, about("β₂", "decay of the mean of g²", source="You 2019", ge=0, lt=1)] = BETA2
    eps: Annotated[float, about("ε", "added to √v̂", source="You 2019", ge=1e-30)] = EPS
    exclude: Exclude = "1d"

    def build(self, params: Iterable[nn.Parameter]) -> Optimizer:
        return LAMB(
            params,
            self.gamma,
            momentum=self.momentum,
            beta2=self.beta2,
            eps=self.eps,
            weight_decay=self.beta,
            exclude=self.exclude,
        )
