"""LAMB's two phases, each one pass over all tensors: 40 bytes a weight (float32).

    m ← β₁ m + (1 - β₁) g;   v ← β₂ v + (1 - β₂) g²;   ‖w‖₂ and ‖u‖₂ of u = m̂/(√v̂ + ε) + βw       24 bytes
    w ← w - rate u                                                                                  16 bytes

u is computed twice rather than kept: keeping it would cost 8 bytes, and the memory of another copy of the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from trainables.optimizers.kernels import chunks, reductions
from trainables.optimizers.kernels.chunks import chunk, high, low, memory, read, write
from trainables.optimizers.kernels.numbers import bits, divide, real, root
from trainables.optimizers.kernels.reductions import square, square_of_large, square_of_small

if TYPE_CHECKING:
    from trainables.optimizers.kernels.reductions import Sums
    from trainables.optimizers.kernels.walks import Step


class Means(NamedTuple):
    """The options of u = m / (√v · scale + least) + βw, with scale = b₁/√b₂, least = b₁ε, bₖ = 1 - βₖᵗ."""

    beta1: float
    beta2: float
    scale: float
    least: float
    beta: float
    beta_of_excluded: float

    def words(self) -> tuple[int, ...]:
        """The arguments of u."""
        return tuple(map(bits, self[2:]))

    @property
    def decayed(self) -> bool:
        """Whether any tensor is."""
        return self.beta != 0 or self.beta_of_excluded != 0


def average(step: Step, means: Means) -> Sums:
    """Moves the means, the step's two states; the norms of w, and those of u in place of g."""
    table = step.walk.chunks
    partial = reductions.room(step)
    step.launch(
        _average, table.count, table.table, step.weights, step.grads, *step.states, partial, table.count,
        step.walk.adapted, bits(means.beta1), bits(1 - means.beta1), bits(means.beta2), bits(1 - means.beta2),
        *means.words(), DECAYED=means.decayed, DOUBLE=step.walk.double, **step.kinds, BLOCK=chunks.BLOCK,
        num_warps=chunks.WARPS,
    )  # fmt: skip
    return reductions.finished(step, partial)


def move(step: Step, means: Means, rates: Tensor) -> None:
    """Moves the weights; `rates` as of `guards.lamb_rates`."""
    table = step.walk.chunks
    step.launch(
        _move, table.count, table.table, step.weights, *step.states, rates, step.walk.adapted, *means.words(),
        DECAYED=means.decayed, **step.kinds, BLOCK=chunks.BLOCK, num_warps=chunks.WARPS,
    )  # fmt: skip


@triton.jit
def _direction(w, mean, square, scale, least, decay, DECAYED: tl.constexpr, WIDE: tl.constexpr):
    u = divide(mean, root(square, WIDE) * scale + least, WIDE)
    if DECAYED:
        u += decay * w
    return u


@triton.jit(do_not_specialize=["count", "adapted"])
def _average(
    table, weights, grads, means, squares, partial, count, adapted, beta1: tl.int64, rest1: tl.int64, beta2: tl.int64,
    rest2: tl.int64, scale: tl.int64, least: tl.int64, beta: tl.int64, beta_of_excluded: tl.int64,
    DECAYED: tl.constexpr, DOUBLE: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr, ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    tensor, start, entries = chunk(table)
    w_at = memory(weights, tensor, DTYPE, ALIGNED) + start
    g_at = memory(grads, tensor, DTYPE, ALIGNED) + start
    m_at = memory(means, tensor, DTYPE, ALIGNED) + start
    v_at = memory(squares, tensor, DTYPE, ALIGNED) + start
    of_root = real(scale).to(WIDE)
    of_eps = real(least).to(WIDE)
    decay = tl.where(tensor < adapted, real(beta), real(beta_of_excluded)).to(WIDE)
    keep1 = real(beta1).to(WIDE)
    take1 = real(rest1).to(WIDE)
    keep2 = real(beta2).to(WIDE)
    take2 = real(rest2).to(WIDE)
    w_mid = tl.zeros([BLOCK], tl.float64)
    u_mid = tl.zeros([BLOCK], tl.float64)
    w_large = tl.zeros([BLOCK], tl.float64)
    u_large = tl.zeros([BLOCK], tl.float64)
    w_small = tl.zeros([BLOCK], tl.float64)
    u_small = tl.zeros([BLOCK], tl.float64)
    lanes = tl.arange(0, BLOCK)
    for PART in tl.static_range(2):
        for i in range(low(entries, PART, BLOCK), high(entries, PART, BLOCK), BLOCK):
            inside = i + lanes < entries
            g = read(g_at + i + lanes, inside, WIDE, PART)
            mean = read(m_at + i + lanes, inside, WIDE, PART)
            v = read(v_at + i + lanes, inside, WIDE, PART)
            w = read(w_at + i + lanes, inside, WIDE, PART)
            mean = (keep1 * mean + take1 * g).to(DTYPE)
            v = (keep2 * v + take2 * g * g).to(DTYPE)
            write(m_at + i + lanes, mean, inside, PART)
            write(v_at + i + lanes, v, inside, PART)
            u = _direction(w, mean.to(WIDE), v.to(WIDE), of_root, of_eps, decay, DECAYED, WIDE)
            u = tl.where(inside, u, 0.0)
            u_mid += square(u, DOUBLE)
            if DOUBLE:
                u_large += square_of_large(u)
                u_small += square_of_small(u)
            w_mid += square(w, DOUBLE)
            if DOUBLE:
                w_large += square_of_large(w)
                w_small += square_of_small(w)
    here = partial + tl.program_id(0)
    tl.store(here + count, tl.sum(u_mid, axis=0))
    tl.store(here, tl.sum(w_mid, axis=0))
    if DOUBLE:
        tl.store(here + 3 * count, tl.sum(w_large, axis=0))
        tl.store(here + 4 * count, tl.sum(u_large, axis=0))
        tl.store(here + 5 * count, tl.sum(w_small, axis=0))
        tl.store(here + 6 * count, tl.sum(u_small, axis=0))


@triton.jit(do_not_specialize=["adapted"])
def _move(
    table, weights, means, squares, rates, adapted, scale: tl.int64, least: tl.int64, beta: tl.int64,
    beta_of_excluded: tl.int64, DECAYED: tl.constexpr, DTYPE: tl.constexpr, WIDE: tl.constexpr, ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    tensor, start, entries = chunk(table)
    w_at = memory(weights, tensor, DTYPE, ALIGNED) + start
    m_at = memory(means, tensor, DTYPE, ALIGNED) + start
    v_at = memory(squares, tensor, DTYPE, ALIGNED) + start
    of_root = real(scale).to(WIDE)
    of_eps = real(least).to(WIDE)
    decay = tl.where(tensor < adapted, real(beta), real(beta_of_excluded)).to(WIDE)
    rate = tl.load(rates + tensor).to(WIDE)
    lanes = tl.arange(0, BLOCK)
    for PART in tl.static_range(2):
        for i in range(low(entries, PART, BLOCK), high(entries, PART, BLOCK), BLOCK):
            inside = i + lanes < entries
            w = read(w_at + i + lanes, inside, WIDE, PART)
            mean = read(m_at + i + lanes, inside, WIDE, PART)
            v = read(v_at + i + lanes, inside, WIDE, PART)
            u = _direction(w, mean, v, of_root, of_eps, decay, DECAYED, WIDE)
            write(w_at + i + lanes, (w - rate * u).to(DTYPE), inside, PART)
