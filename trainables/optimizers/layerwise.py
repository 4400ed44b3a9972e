"""The layer-wise family: each member is a radius of curvature, and everything else is here.

    v ← m v + γ s R (g + βw);   w ← w - v                               You 2017, algorithm 1

with the rate inside the momentum buffer, s the schedule's factor (`group["lr"]` is γ·s), and R = top / bottom
the member's statistic of the radius over one tensor (paper, section 4.3), within guards:

    R = min(top / max(bottom, floor), r_max),   and 1 in place of top / bottom where top is 0 and the gradient is not

`torch.compile(optimizer.step)` (2.14, backend eager) gives the same weights but does not pay: Python numbers and
dictionaries of parameters break the step into 6 to 14 graphs. Run it plain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from trainables.optimizers import fused, kernels
from trainables.optimizers.options import POSITIVE, RATE, Rule, at_least
from trainables.optimizers.tensor_statistics import any_entry, mean_ratios, norms
from trainables.optimizers.tensorwise import LR, TensorWise, add_scaled, largest_step, scalars, use_foreach

if TYPE_CHECKING:
    from trainables.optimizers.kernels.reductions import Sums
    from trainables.optimizers.kernels.walks import Step, Walk

EXCLUDED_LR = 0.01
R_MAX = 1e6
FLOOR = 1e-12


@dataclass(frozen=True)
class Batch:
    """k tensors of a device and dtype, what a radius may ask of them, and which guards fired.

    `step` is there where kernels answer.
    """

    weights: list[Tensor]
    grads: list[Tensor]
    options: Mapping[str, Any]
    fired: dict[str, Tensor] = field(default_factory=dict)
    step: Step | None = None

    @property
    def beta(self) -> float:
        """β of these tensors: 0 where they are excluded."""
        return float(self.options["weight_decay"])

    @cached_property
    def weight_norms(self) -> Tensor:
        """‖w‖₂, shape (k,), float64."""
        return self.sums.weight_norms if self.step else norms(self.weights)

    @cached_property
    def grad_norms(self) -> Tensor:
        """‖g‖₂, shape (k,), float64."""
        return self.sums.grad_norms if self.step else norms(self.grads)

    def relative(self, floor: float) -> tuple[Tensor, Tensor]:
        """1 for each tensor that has an entry other than 0, else 0; the mean of |g + βw| / max(|w|, floor).

        Asked first, it has the kernels find the norms in the same pass.
        """
        if self.step is None:
            return any_entry(self.weights), mean_ratios(self.grads, self.weights, self.beta, floor)
        sums = self.__dict__["sums"] = self._sums(floor)
        return sums.any_weight, sums.mean_ratios

    @cached_property
    def sums(self) -> Sums:
        """What kernels find in one pass over the tensors, and over the excluded ones that move with them."""
        return self._sums()

    def _sums(self, floor: float | None = None) -> Sums:
        from trainables.optimizers.kernels.reductions import sums

        assert self.step is not None
        return sums(self.step, self.beta, floor)

    def decayed(self) -> Iterator[Tensor]:
        """g + βw, one tensor at a time."""
        for g, w in zip(self.grads, self.weights, strict=True):
            yield torch.add(g, w, alpha=self.beta) if self.beta else g

    @cached_property
    def reach(self) -> Tensor:
        """A bound on every |g + βw|, shape (k,)."""
        return self.grad_norms + self.beta * self.weight_norms if self.beta else self.grad_norms


class LayerWise(TensorWise):
    """Base of the family. A member writes `fraction`.

    A tensor of zeros (a head that starts at 0, or a bias under `exclude="none"`) has radius 0, and at radius 0 it would
    stay 0 for ever, at any rate. It takes R = 1 instead, so that its first step is momentum SGD's at rate γ and the
    rule takes over from there. LAMB's authors, and the LARS of timm, do the same; a warning would leave the tensor
    untrained. The guard `zero_radius` counts these steps.

    Arguments, common to the members:
        params: parameters, named parameters, or param groups, whose options override those below.
        lr: γ, the global coefficient; `group["lr"]` is γ·s and a scheduler may drive it. Beside a scheduler that writes
            rates of its own (OneCycleLR) give its largest one here: the excluded tensors follow by lr / lr at first.
        momentum: m in [0, 1).
        weight_decay: β; with 0 the radius still adapts.
        excluded_lr: rate of the excluded tensors at first, momentum SGD without decay, in weight²/loss; see
            `excluded_rate`.
        exclude: "1d" leaves biases and norms (at most one dimension) to `excluded_lr`; "none" adapts all.
        r_max: cap on R. floor: least denominator of R.
        maximize: ascend. foreach: multi-tensor calls; None chooses by device.
        own: for a member's constructor alone, its own options, which reach `fraction` as `batch.options`.

    Errors: see `TensorWise`.
    """

    rules: ClassVar[dict[str, Rule]] = {"excluded_lr": RATE, "r_max": POSITIVE, "floor": at_least(1e-30)}
    guard_names: ClassVar[tuple[str, ...]] = ("floor", "r_max", "zero_radius", "overflow")

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = LR,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        excluded_lr: float = EXCLUDED_LR,
        exclude: str = "1d",
        r_max: float = R_MAX,
        floor: float = FLOOR,
        maximize: bool = False,
        foreach: bool | None = None,
        **own: Any,
    ) -> None:
        common = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "excluded_lr": excluded_lr}
        guards = {"exclude": exclude, "r_max": r_max, "floor": floor}
        super().__init__(params, {**common, **guards, "maximize": maximize, "foreach": foreach, **own})

    def fraction(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The radius of each tensor as (top, bottom), both ≥ 0, float64, shape (k,)."""
        raise NotImplementedError

    def excluded_rate(self, group: dict[str, Any]) -> Any:
        """The rate of the group's excluded tensors now: a float, or a tensor where `lr` is one.

        It is the group's `lr` where every tensor of the group is excluded and the group states a rate of its own; else
        `excluded_lr` · (lr now / lr at construction), so that a schedule drives both alike. Beside an lr of 0 at
        construction it is `excluded_lr` whenever lr is above 0.
        """
        now, first = group["lr"], group["lr_at_construction"]
        if group["lr_reaches_excluded"]:
            return now
        return group["excluded_lr"] * (now / first if first else now > 0)

    def _update(self, options: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        batch = Batch(params, grads, options)
        radius = None if options["excluded"] else self._guarded_radius(options, batch)
        rates = options["lr"] * (torch.ones_like(batch.reach) if radius is None else radius)
        dtype, momentum = params[0].dtype, options["momentum"]
        rates, batch.fired["overflow"] = self._bounded(rates, batch.reach, dtype, momentum)
        buffers = [self._buffer(p) for p in params]
        move = _move_together if use_foreach(options["foreach"], params[0]) else _move_one_by_one
        move(batch, buffers, momentum, rates)
        self._record(params, batch.fired, radius)

    def _fits(self, group: dict[str, Any], p: Tensor, g: Tensor) -> bool:
        return kernels.fits(group["foreach"], p, g)

    def _update_by_kernels(self, group: dict[str, Any], walk: Walk, grads: list[Tensor]) -> None:
        from trainables.optimizers.kernels import guards, moves

        adapted, excluded = (self._options(group, which) for which in (False, True))
        step = walk.step(grads, self._counters_of(walk), self._states_of(walk, "momentum_buffer"))
        batch = Batch(walk.params[: walk.adapted], grads[: walk.adapted], adapted, step=step)
        fraction = self.fraction(batch) if walk.adapted else None
        rates = guards.rates(
            step,
            batch.sums,
            fraction,
            [batch.fired.get(name) for name in self.guard_names[len(LayerWise.guard_names) :]],
            guards.Common(adapted["lr"], adapted["weight_decay"]),
            guards.Common(excluded["lr"], excluded["weight_decay"]),
            (group["floor"], group["r_max"], largest_step(walk.dtype, group["momentum"])),
        )
        moves.move(step, group["momentum"], rates, decayed=adapted["weight_decay"] or excluded["weight_decay"])
        self._radius.update(walk.radius_of)

    def _guarded_radius(self, options: dict[str, Any], batch: Batch) -> Tensor:
        top, bottom = self.fraction(batch)
        zero = (top == 0) & (batch.grad_norms > 0)
        free = torch.where(zero, 1.0, top / bottom.clamp_min(options["floor"]))
        batch.fired["floor"] = bottom < options["floor"]
        batch.fired["r_max"] = free > options["r_max"]
        batch.fired["zero_radius"] = zero
        return free.clamp_max(options["r_max"])

    def _buffer(self, p: Tensor) -> Tensor:
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def _move_one_by_one(batch: Batch, buffers: list[Tensor], momentum: float, rates: Tensor) -> None:
    reaches = batch.reach.tolist() if batch.weights[0].device.type == "cpu" else [math.inf] * len(buffers)
    for w, v, g, rate, reach in zip(batch.weights, buffers, batch.grads, scalars(rates), reaches, strict=True):
        if momentum and fused.fits(w, v, g, rate=rate, reach=reach):
            fused.move(w, v, g, momentum, batch.beta, rate)
            continue
        add_scaled(v.mul_(momentum), g, rate)
        if batch.beta:
            add_scaled(v, w, rate * batch.beta)
        w.sub_(v)


def _move_together(batch: Batch, buffers: list[Tensor], momentum: float, rates: Tensor) -> None:
    steps = torch._foreach_mul(batch.grads, list(rates.unbind()))
    if batch.beta:
        torch._foreach_add_(steps, torch._foreach_mul(batch.weights, list((rates * batch.beta).unbind())))
    torch._foreach_mul_(buffers, momentum)
    torch._foreach_add_(buffers, steps)
    torch._foreach_sub_(batch.weights, buffers)
