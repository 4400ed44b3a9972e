"""The layer-wise family's common update in one pass: 20 bytes a weight (float32), for w, g, v are read, w, v written.

v ← m v + rate (g + βw);   w ← w - v
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl
from torch import Tensor

from trainables.optimizers.kernels import chunks
from trainables.optimizers.kernels.chunks import chunk, high, low, memory, read, write
from trainables.optimizers.kernels.numbers import bits, real

if TYPE_CHECKING:
    from trainables.optimizers.kernels.walks import Step


def move(step: Step, momentum: float, rates: Tensor, decayed: float) -> None:
    """Moves the weights and their momentum buffers, the step's state.

    `rates` are those of `guards.rates`; `decayed` is 0 where no tensor is.
    """
    table = step.walk.chunks
    step.launch(
        _move, table.count, table.table, step.weights, step.grads, step.states[0], rates, bits(momentum),
        step.walk.count, DECAYED=decayed != 0, **step.kinds, BLOCK=chunks.BLOCK, num_warps=chunks.WARPS,
    )  # fmt: skip


@triton.jit(do_not_specialize=["count"])
def _move(
    table, weights, grads, buffers, rates, momentum: tl.int64, count, DECAYED: tl.constexpr,
    DTYPE: tl.constexpr, WIDE: tl.constexpr, ALIGNED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tensor, start, entries = chunk(table)
    w_at = memory(weights, tensor, DTYPE, ALIGNED) + start
    g_at = memory(grads, tensor, DTYPE, ALIGNED) + start
    v_at = memory(buffers, tensor, DTYPE, ALIGNED) + start
    rate = tl.load(rates + tensor).to(WIDE)
    decay = tl.load(rates + count + tensor).to(WIDE)
    m = real(momentum).to(WIDE)
    lanes = tl.arange(0, BLOCK)
    for PART in tl.static_range(2):
        for i in range(low(entries, PART, BLOCK), high(entries, PART, BLOCK), BLOCK):
            inside = i + lanes < entries
            w = read(w_at + i + lanes, inside, WIDE, PART)
            g = read(g_at + i + lanes, inside, WIDE, PART)
            v = read(v_at + i + lanes, inside, WIDE, PART)
            v = m * v + rate * g
            if DECAYED:
                v += decay * w
            v = v.to(DTYPE)  # as it is kept, so is it taken
            write(v_at + i + lanes, v, inside, PART)
            write(w_at + i + lanes, (w - v.to(WIDE)).to(DTYPE), inside, PART)
