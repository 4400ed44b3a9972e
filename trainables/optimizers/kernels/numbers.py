"""What the kernels count with: exact scalars, and arithmetic that rounds as IEEE 754 says."""

from __future__ import annotations

import struct

import torch
import triton
import triton.language as tl

DTYPES = {torch.float64: tl.float64, torch.float32: tl.float32, torch.bfloat16: tl.bfloat16}
WIDE = {torch.float64: tl.float64, torch.float32: tl.float32, torch.bfloat16: tl.float32}


def bits(number: float) -> int:
    """The 64 bits of a float64: a kernel's float argument would be rounded to float32."""
    (pattern,) = struct.unpack("q", struct.pack("d", number))
    return int(pattern)


@triton.jit
def real(pattern):
    """The float64 of `bits`."""
    return pattern.to(tl.int64).to(tl.float64, bitcast=True)


@triton.jit
def divide(a, b, WIDE: tl.constexpr):
    """a / b, correctly rounded; Triton's own quotient of float32 is not."""
    return a / b if WIDE == tl.float64 else tl.div_rn(a, b)


@triton.jit
def root(x, WIDE: tl.constexpr):
    """√x, correctly rounded."""
    return tl.sqrt(x) if WIDE == tl.float64 else tl.sqrt_rn(x)


@triton.jit
def total(column, low, high, BLOCK: tl.constexpr):
    """Σ column[low:high] in float64, always in the same order."""
    lanes = tl.arange(0, BLOCK)
    sums = tl.zeros([BLOCK], tl.float64)
    for start in range(low, high, BLOCK):
        sums += tl.load(column + start + lanes, mask=start + lanes < high, other=0.0)
    return tl.sum(sums, axis=0)
