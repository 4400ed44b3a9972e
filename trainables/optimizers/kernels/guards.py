"""From the statistics of k tensors to their radii and rates, in one launch, which also counts the guards that fired.

    R = min(top / max(bottom, floor), r_max),   and 1 in place of top / bottom where top is 0 and the gradient is not
    rate = min(γ s R, h / reach),   reach = ‖g‖₂ + β‖w‖₂ ≥ every |g + βw|

for the layer-wise family, and for LAMB R = ‖w‖₂/‖u‖₂, 1 where one of them is 0, and reach = ‖u‖₂. h is
`tensorwise.largest_step`. All in float64; what is not a number stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainables.optimizers.kernels.numbers import bits, real

if TYPE_CHECKING:
    from trainables.optimizers.kernels.reductions import Sums
    from trainables.optimizers.kernels.walks import Step

BLOCK = 32  # tensors a program


class Common(NamedTuple):
    """What holds for the adapted tensors, or for the excluded ones: γ s and β."""

    lr: float | Tensor
    beta: float


def rates(
    step: Step,
    sums: Sums,
    fraction: tuple[Tensor, Tensor] | None,
    extra: Sequence[Tensor | None],
    adapted: Common,
    excluded: Common,
    limits: tuple[float, float, float],
) -> Tensor:
    """γ s R of each tensor and β times that, (2, k), float64, within the guards; radii go to `walk.radius`.

    Arguments:
        fraction: top and bottom of the adapted tensors' radius; None where there are none. The others take R = 1.
        extra: flags of the adapted tensors that are counted behind the four guards, bool; None: not this one.
        limits: floor, r_max, and h, the size within which no step overflows.
    """
    walk = step.walk
    result = torch.empty((2, walk.count), dtype=torch.float64, device=walk.device)
    top, bottom = (sums.table, sums.table) if fraction is None else (x.double().contiguous() for x in fraction)
    flags = _side_by_side(extra)
    lr, lr_of_excluded, in_memory = _rates(adapted.lr, excluded.lr, walk.device)
    step.launch(
        _layer_wise, -(-walk.count // BLOCK), top, bottom, sums.table, result if flags is None else flags,
        step.counters, walk.radius, result, lr, lr_of_excluded, bits(adapted.beta), bits(excluded.beta),
        *map(bits, limits), walk.count, walk.adapted, LR_IN_MEMORY=in_memory,
        EXTRA=0 if flags is None else len(extra), BLOCK=BLOCK, num_warps=1,
    )  # fmt: skip
    return result


def lamb_rates(step: Step, sums: Sums, lr: float | Tensor, largest: float) -> Tensor:
    """γ s R of each tensor, (k,), float64, R = 1 for the excluded; `sums` are of w and of u in place of g."""
    walk = step.walk
    result = torch.empty(walk.count, dtype=torch.float64, device=walk.device)
    rate, _, in_memory = _rates(lr, lr, walk.device)
    step.launch(
        _lamb, -(-walk.count // BLOCK), sums.table, step.counters, walk.radius, result, rate, bits(largest),
        walk.count, walk.adapted, LR_IN_MEMORY=in_memory, BLOCK=BLOCK, num_warps=1,
    )  # fmt: skip
    return result


def _rates(one: Any, other: Any, device: torch.device) -> tuple[Any, Any, bool]:
    """Two rates as arguments, and whether they are tensors of the device, which may change in place and be replayed."""
    if any(isinstance(rate, Tensor) and rate.device == device for rate in (one, other)):
        return torch.as_tensor(one, device=device), torch.as_tensor(other, device=device), True
    return bits(float(one)), bits(float(other)), False


def _side_by_side(flags: Sequence[Tensor | None]) -> Tensor | None:
    """(k, flags), a copy only where there are several."""
    given = [flag for flag in flags if flag is not None]
    if not given:
        return None
    if len(flags) == 1:
        return given[0]
    never = torch.zeros_like(given[0])
    return torch.stack([never if flag is None else flag for flag in flags], dim=1)


@triton.jit
def _lr(lr, LR_IN_MEMORY: tl.constexpr):
    return tl.load(lr).to(tl.float64) if LR_IN_MEMORY else real(lr)


@triton.jit
def _bounded(rate, reach, largest):
    """The rate that lets no step overflow. A reach that is not finite is none of this guard's business."""
    reach = tl.where((reach - reach == 0) & (reach > 1), reach, 1.0)
    bound = largest / reach
    return tl.where(rate > bound, bound, rate)


@triton.jit
def _increase(counters, column, fired, here):
    at = counters + column
    tl.store(at, tl.load(at, mask=here, other=0) + fired.to(tl.int64), mask=here)


@triton.jit(do_not_specialize=["lr", "lr_of_excluded", "count", "adapted"])
def _layer_wise(
    tops, bottoms, sums, flags, counters, radii, rates, lr, lr_of_excluded, beta: tl.int64, beta_of_excluded: tl.int64,
    floor: tl.int64, r_max: tl.int64, largest: tl.int64, count, adapted, LR_IN_MEMORY: tl.constexpr,
    EXTRA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tensor = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = tensor < count
    ours = tensor < adapted
    mine = tl.load(counters + tensor, mask=here, other=0).to(tl.pointer_type(tl.int64))
    w = tl.load(sums + tensor, mask=here, other=0.0)
    g = tl.load(sums + count + tensor, mask=here, other=0.0)
    top = tl.load(tops + tensor, mask=ours, other=1.0)
    bottom = tl.load(bottoms + tensor, mask=ours, other=1.0)
    least = real(floor)
    most = real(r_max)
    zero = ours & (top == 0) & (g > 0)
    free = tl.where(zero, 1.0, top / tl.where(bottom < least, least, bottom))
    radius = tl.where(free > most, most, free)
    tl.store(radii + tensor, radius, mask=ours)
    _increase(mine, 0, bottom < least, ours)
    _increase(mine, 1, free > most, ours)
    _increase(mine, 2, zero, ours)
    rate = tl.where(ours, _lr(lr, LR_IN_MEMORY) * radius, _lr(lr_of_excluded, LR_IN_MEMORY))
    decay = tl.where(ours, real(beta), real(beta_of_excluded))
    reach = tl.where(decay != 0, g + decay * w, g)
    bounded = _bounded(rate, reach, real(largest))
    _increase(mine, 3, rate > bounded, here)
    for column in tl.static_range(EXTRA):
        _increase(mine, 4 + column, tl.load(flags + tensor * EXTRA + column, mask=ours, other=0) != 0, ours)
    tl.store(rates + tensor, bounded, mask=here)
    tl.store(rates + count + tensor, bounded * decay, mask=here)


@triton.jit(do_not_specialize=["lr", "count", "adapted"])
def _lamb(
    sums, counters, radii, rates, lr, largest: tl.int64, count, adapted, LR_IN_MEMORY: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    LARGEST: tl.constexpr = 1.7976931348623157e308  # a ratio beyond it would turn a rate of 0 into NaN
    tensor = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = tensor < count
    ours = tensor < adapted
    mine = tl.load(counters + tensor, mask=here, other=0).to(tl.pointer_type(tl.int64))
    w = tl.load(sums + tensor, mask=here, other=1.0)
    u = tl.load(sums + count + tensor, mask=here, other=1.0)
    zero = ours & ((w == 0) | (u == 0))
    ratio = w / tl.where(u == 0, 1.0, u)
    ratio = tl.where(ratio > LARGEST, LARGEST, ratio)
    radius = tl.where(zero, 1.0, ratio)
    tl.store(radii + tensor, radius, mask=ours)
    _increase(mine, 0, zero, ours)
    rate = tl.where(ours, _lr(lr, LR_IN_MEMORY) * radius, _lr(lr, LR_IN_MEMORY))
    bounded = _bounded(rate, u, real(largest))
    _increase(mine, 1, rate > bounded, here)
    tl.store(rates + tensor, bounded, mask=here)
