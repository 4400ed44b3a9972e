"""Norms and mean ratios of k tensors in one pass over them: partial sums a chunk, then one program a tensor.

    ‖w‖₂ = √Σw²,   ‖g‖₂ = √Σg²,   mean of |g + βw| / max(|w|, floor)

Sums are of float64, in an order that depends on nothing but the sizes. Squares of float32 neither overflow nor vanish
there; those of float64 can, so their large and small entries are scaled and summed apart.

Bytes a weight (float32): 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainables.optimizers.kernels import chunks
from trainables.optimizers.kernels.chunks import chunk, high, low, memory, read
from trainables.optimizers.kernels.numbers import bits, divide, real, total

if TYPE_CHECKING:
    from trainables.optimizers.kernels.walks import Step

FINISH = 256  # partial sums at a time
# Beyond these a float64 is scaled, by 2^-600 or 2^600, before it is squared.
SMALL, LARGE = tl.constexpr(2.0**-500), tl.constexpr(2.0**500)
DOWN, UP = tl.constexpr(2.0**-600), tl.constexpr(2.0**600)


class Sums(NamedTuple):
    """Of the adapted tensors, float64; `table` has all, (4, k), in this order. Ratios not asked for have no meaning."""

    weight_norms: Tensor
    grad_norms: Tensor
    mean_ratios: Tensor
    any_weight: Tensor  # 1 where an entry is not 0, else 0
    table: Tensor


def sums(step: Step, beta: float = 0.0, floor: float | None = None) -> Sums:
    """Norms of weights and gradients; the mean ratios, too, where `floor` is given, with the `beta` of the adapted."""
    table = step.walk.chunks
    partial = room(step)
    step.launch(
        _partial, table.count, table.table, step.weights, step.grads, partial, table.count, bits(beta),
        bits(floor or 0.0), MEANS=floor is not None, DOUBLE=step.walk.double, **step.kinds,
        BLOCK=chunks.BLOCK, num_warps=chunks.WARPS,
    )  # fmt: skip
    return finished(step, partial, means=floor is not None)


def room(step: Step) -> Tensor:
    """Memory for the chunks' partial sums, column by column.

    They are Σw², Σg² and the ratios'; of float64 also Σw², Σg² of large entries, and of small ones.
    """
    walk = step.walk
    return torch.empty((7 if walk.double else 3) * walk.chunks.count, dtype=torch.float64, device=walk.device)


def finished(step: Step, partial: Tensor, means: bool = False) -> Sums:
    """The sums of `room`."""
    walk = step.walk
    table = torch.empty((4, walk.count), dtype=torch.float64, device=walk.device)
    step.launch(
        _finish, walk.count, partial, walk.chunks.first, walk.chunks.sizes, table, walk.chunks.count, walk.count,
        MEANS=means, DOUBLE=walk.double, BLOCK=FINISH,
    )  # fmt: skip
    weights, grads, means_of, any_weight = table[:, : walk.adapted].unbind()
    return Sums(weights, grads, means_of, any_weight, table)


@triton.jit
def square(x, DOUBLE: tl.constexpr):
    """x² in float64; of a float64 where it lies between 2^±500, else 0; NaN stays."""
    x = x.to(tl.float64)
    if DOUBLE:
        x = tl.where((tl.abs(x) > LARGE) | (tl.abs(x) < SMALL), 0.0, x)
    return x * x


@triton.jit
def square_of_large(x):
    """(2^-600 x)² of a float64 beyond 2^500, else 0."""
    x = tl.where(tl.abs(x) > LARGE, x * DOWN, 0.0)
    return x * x


@triton.jit
def square_of_small(x):
    """(2^600 x)² of a float64 below 2^-500, else 0."""
    x = tl.where(tl.abs(x) < SMALL, x * UP, 0.0)
    return x * x


@triton.jit(do_not_specialize=["count"])
def _partial(
    table, weights, grads, partial, count, beta: tl.int64, floor: tl.int64,
    MEANS: tl.constexpr, DOUBLE: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr, ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    tensor, start, entries = chunk(table)
    g_at = memory(grads, tensor, DTYPE, ALIGNED) + start
    w_at = memory(weights, tensor, DTYPE, ALIGNED) + start
    decay = real(beta).to(WIDE)
    least = real(floor).to(WIDE)
    w_mid = tl.zeros([BLOCK], tl.float64)
    g_mid = tl.zeros([BLOCK], tl.float64)
    ratios = tl.zeros([BLOCK], tl.float64)
    w_large = tl.zeros([BLOCK], tl.float64)
    g_large = tl.zeros([BLOCK], tl.float64)
    w_small = tl.zeros([BLOCK], tl.float64)
    g_small = tl.zeros([BLOCK], tl.float64)
    lanes = tl.arange(0, BLOCK)
    for PART in tl.static_range(2):
        for i in range(low(entries, PART, BLOCK), high(entries, PART, BLOCK), BLOCK):
            inside = i + lanes < entries
            g = read(g_at + i + lanes, inside, WIDE, PART)
            g_mid += square(g, DOUBLE)
            if DOUBLE:
                g_large += square_of_large(g)
                g_small += square_of_small(g)
            w = read(w_at + i + lanes, inside, WIDE, PART)
            w_mid += square(w, DOUBLE)
            if DOUBLE:
                w_large += square_of_large(w)
                w_small += square_of_small(w)
            if MEANS:
                size = tl.abs(w)
                bottom = tl.where(size < least, least, size)
                ratio = divide(tl.abs(g + decay * w), bottom, WIDE)
                ratios += ratio.to(tl.float64)  # outside it is 0
    here = partial + tl.program_id(0)
    tl.store(here + count, tl.sum(g_mid, axis=0))
    tl.store(here, tl.sum(w_mid, axis=0))
    if MEANS:
        tl.store(here + 2 * count, tl.sum(ratios, axis=0))
    if DOUBLE:
        tl.store(here + 3 * count, tl.sum(w_large, axis=0))
        tl.store(here + 4 * count, tl.sum(g_large, axis=0))
        tl.store(here + 5 * count, tl.sum(w_small, axis=0))
        tl.store(here + 6 * count, tl.sum(g_small, axis=0))


@triton.jit
def _norm(partial, count, begin, end, WHICH: tl.constexpr, DOUBLE: tl.constexpr,
          BLOCK: tl.constexpr):  # fmt: skip
    """√ of the sums of squares of w (0) or g (1)."""
    mid = total(partial + WHICH * count, begin, end, BLOCK)
    norm = tl.sqrt(mid)
    if DOUBLE:
        large = total(partial + (3 + WHICH) * count, begin, end, BLOCK)
        small = total(partial + (5 + WHICH) * count, begin, end, BLOCK)
        # one factor after the other, for 2^-1200 is no float64
        of_large = tl.sqrt(large + mid * DOWN * DOWN) * UP
        of_mid = tl.sqrt(mid + small * DOWN * DOWN)
        norm = tl.where(large != 0, of_large, tl.where(mid != 0, of_mid, tl.sqrt(small) * DOWN))
    return norm


@triton.jit(do_not_specialize=["count", "tensors"])
def _finish(
    partial, first, sizes, result, count, tensors, MEANS: tl.constexpr, DOUBLE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tensor = tl.program_id(0)
    begin = tl.load(first + tensor).to(tl.int32)
    end = tl.load(first + tensor + 1).to(tl.int32)
    here = result + tensor
    tl.store(here + tensors, _norm(partial, count, begin, end, 1, DOUBLE, BLOCK))
    norm = _norm(partial, count, begin, end, 0, DOUBLE, BLOCK)
    tl.store(here, norm)
    tl.store(here + 3 * tensors, (norm != 0).to(tl.float64))
    if MEANS:
        size = tl.load(sizes + tensor)
        ratios = total(partial + 2 * count, begin, end, BLOCK)
        tl.store(here + 2 * tensors, ratios / tl.where(size > 0, size, 1).to(tl.float64))
