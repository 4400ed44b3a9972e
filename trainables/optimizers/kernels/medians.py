"""Exact medians of k tensors by radix selection: the lower of two, as torch.median; 0 of none; NaN is the largest.

Floats, as their bits with the sign turned about, sort like whole numbers. A pass counts how many entries have each
value of the key's next digit, among those that share the digits found so far; the digit in which the median's rank
falls is found, and the next pass goes on within it. After the last pass the key is known, and so is the entry.

Digits are of 8, 12 and 12 bits for float32 and bfloat16, which is read as float32 (float64: 8, four of 12, 8). The
first one, nearly the exponent, falls on few values, so each program counts by itself before it adds to the tensor's
counts; later ones spread, and are added one by one. Counts are integers: their order does not matter.

Both medians of a tensor, of w and of g, are counted in the same pass, with the mask g ≠ 0. Bytes a weight: 8 a pass,
24 for float32; of a sample, 32 or so an entry of it and pass, for memory is read in pieces of 32 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from trainables.optimizers.kernels import chunks
from trainables.optimizers.kernels.chunks import chunk, high, low, memory, read
from trainables.optimizers.kernels.numbers import bits, divide, real

if TYPE_CHECKING:
    from trainables.optimizers.kernels.walks import Step

BINS = 1 << 12  # the most values of a digit
DIGITS = {torch.float32: (8, 12, 12), torch.bfloat16: (8, 12, 12), torch.float64: (8, 12, 12, 12, 12, 8)}
READINGS = {"abs": 0, "signed": 1, "radius": 2}


class Medians(NamedTuple):
    """Of each adapted tensor: (1 or 2, k), float64, of the radii, or of w and g; how many the mask left out, (k,)."""

    values: Tensor
    left_out: Tensor


def medians(step: Step, reading: str, masked: bool, sample: int | None = None, beta: float = 0.0) -> Medians:
    """Medians of the adapted tensors' |w| and |g| ("abs"), of w and g ("signed"), or of |w / (g + βw)| ("radius").

    Arguments:
        masked: leave out the entries with g = 0.
        sample: take about so many entries of a tensor that has more, at a fixed stride in the order of its indices.
    """
    walk = step.walk
    thin, tensors, sides = walk.sample(sample), walk.adapted, 1 if reading == "radius" else 2
    counts = torch.zeros(tensors * sides * BINS, dtype=torch.int32, device=walk.device)
    found = torch.empty(2 * tensors * sides, dtype=torch.int64, device=walk.device)  # the keys so far; the ranks
    values = torch.empty((sides, tensors), dtype=torch.float64, device=walk.device)
    left_out = torch.empty(tensors, dtype=torch.int64, device=walk.device)
    kinds = {"SIDES": sides, "READING": READINGS[reading], "BINS": BINS, "WIDE": step.kinds["WIDE"]}
    digits = DIGITS[walk.dtype]
    for index, width in enumerate(digits):
        # Later passes add entry by entry, which wants an entry of each thread at a time, not four side by side.
        digit = {"SHIFT": sum(digits[index + 1 :]), "WIDTH": width, "FIRST": index == 0}
        step.launch(
            _count, thin.chunks.count, thin.chunks.table, step.weights, step.grads, thin.places, counts, found,
            bits(beta), MASKED=masked, SAMPLED=thin.sampled, DECAYED=beta != 0, DTYPE=step.kinds["DTYPE"],
            ALIGNED=step.kinds["ALIGNED"] and index == 0 and not thin.sampled, **digit, **kinds, BLOCK=chunks.BLOCK,
            num_warps=chunks.WARPS,
        )  # fmt: skip
        step.launch(
            _select, tensors * sides, counts, found, thin.chunks.sizes, values, left_out, tensors,
            LAST=index + 1 == len(digits), **digit, **kinds, num_warps=chunks.WARPS,
        )  # fmt: skip
    return Medians(values, left_out)


@triton.jit
def _key(x, READING: tl.constexpr, WIDE: tl.constexpr):
    """Bits of the same order as the numbers; those of sizes leave out the sign and a zero stands in its place."""
    DOUBLE: tl.constexpr = WIDE == tl.float64
    TOP: tl.constexpr = 0x8000000000000000 if DOUBLE else 0x80000000
    ALL: tl.constexpr = 0xFFFFFFFFFFFFFFFF if DOUBLE else 0xFFFFFFFF
    INFINITE: tl.constexpr = 0xFFE0000000000000 if DOUBLE else 0xFF000000
    pattern = x.to(tl.uint64 if DOUBLE else tl.uint32, bitcast=True)
    size = pattern << 1
    if READING == 1:
        key = tl.where(pattern >= TOP, pattern ^ ALL, pattern ^ TOP)
        key = tl.where(size == 0, TOP, key)  # both zeros are one number
        size = tl.where(size > INFINITE, ALL, key)
    return size


@triton.jit
def _number(key, READING: tl.constexpr, WIDE: tl.constexpr):
    """The number whose `_key` this is."""
    DOUBLE: tl.constexpr = WIDE == tl.float64
    TOP: tl.constexpr = 0x8000000000000000 if DOUBLE else 0x80000000
    ALL: tl.constexpr = 0xFFFFFFFFFFFFFFFF if DOUBLE else 0xFFFFFFFF
    pattern = key >> 1
    if READING == 1:
        pattern = tl.where(key >= TOP, key ^ TOP, key ^ ALL)
    return pattern.to(WIDE, bitcast=True).to(tl.float64)


@triton.jit
def _places(places, tensor, index, SAMPLED: tl.constexpr):
    """Where in memory the sample's entries of these numbers lie, for a tensor laid out as `layout` says."""
    if SAMPLED:
        row = places + 3 * tensor
        step, channels, space = tl.load(row), tl.load(row + 1), tl.load(row + 2)
        index = index * step
        rest = index % (channels * space)
        index = index - rest + rest % space * channels + rest // space
    return index


@triton.jit
def _add(counts, key, kept, prefix, SHIFT: tl.constexpr, WIDTH: tl.constexpr):
    """Counts the digits of the entries whose key begins with `prefix`.

    Zeros and few-valued tensors would queue up at one counter, so a program counts the digit 0 and one other itself.
    """
    kept = kept & ((key >> (SHIFT + WIDTH)) == prefix)
    digit = ((key >> SHIFT) & ((1 << WIDTH) - 1)).to(tl.int32)
    common = tl.max(tl.where(kept, digit, 0), axis=0)
    zeros = tl.sum((kept & (digit == 0)).to(tl.int32), axis=0)
    others = tl.sum((kept & (digit == common) & (digit != 0)).to(tl.int32), axis=0)
    tl.atomic_add(counts, zeros, mask=zeros > 0, sem="relaxed")
    tl.atomic_add(counts + common, others, mask=others > 0, sem="relaxed")
    rare = kept & (digit != 0) & (digit != common)
    tl.atomic_add(counts + digit, tl.full(digit.shape, 1, tl.int32), mask=rare, sem="relaxed")


@triton.jit
def _count(
    table, weights, grads, places, counts, found, beta: tl.int64, SHIFT: tl.constexpr, WIDTH: tl.constexpr,
    FIRST: tl.constexpr, SIDES: tl.constexpr, READING: tl.constexpr, WIDE: tl.constexpr, MASKED: tl.constexpr,
    SAMPLED: tl.constexpr, DECAYED: tl.constexpr, DTYPE: tl.constexpr, ALIGNED: tl.constexpr, BINS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    tensor, start, entries = chunk(table)
    w_at = memory(weights, tensor, DTYPE, ALIGNED)
    g_at = memory(grads, tensor, DTYPE, ALIGNED)
    decay = real(beta).to(WIDE)
    UNSIGNED: tl.constexpr = tl.uint64 if WIDE == tl.float64 else tl.uint32
    lanes = tl.arange(0, BLOCK)
    bins = tl.arange(0, 1 << WIDTH)
    at = counts + tensor * (SIDES * BINS)
    if FIRST:
        of_w = tl.zeros([1 << WIDTH], tl.int32)
        of_g = tl.zeros([1 << WIDTH], tl.int32)
    else:
        w_prefix = tl.load(found + tensor * SIDES).to(UNSIGNED)
        g_prefix = tl.load(found + tensor * SIDES + SIDES - 1).to(UNSIGNED)
    for PART in tl.static_range(2):
        for i in range(low(entries, PART, BLOCK), high(entries, PART, BLOCK), BLOCK):
            inside = i + lanes < entries
            place = _places(places, tensor, start + i + lanes, SAMPLED)
            w = read(w_at + place, inside, WIDE, PART)
            g = read(g_at + place, inside, WIDE, PART)
            kept = inside
            if MASKED:
                kept = inside & (g != 0)
            if READING == 2:
                d = g + decay * w if DECAYED else g
                w = tl.where(d == 0, float("inf"), divide(w, d, WIDE))
            w_key = _key(w, READING, WIDE)
            if FIRST:
                of_w += tl.histogram((w_key >> SHIFT).to(tl.int32), 1 << WIDTH, mask=kept)
            else:
                _add(at, w_key, kept, w_prefix, SHIFT, WIDTH)
            if SIDES == 2:
                g_key = _key(g, READING, WIDE)
                if FIRST:
                    of_g += tl.histogram((g_key >> SHIFT).to(tl.int32), 1 << WIDTH, mask=kept)
                else:
                    _add(at + BINS, g_key, kept, g_prefix, SHIFT, WIDTH)
    if FIRST:
        tl.atomic_add(at + bins, of_w, mask=of_w > 0, sem="relaxed")
        if SIDES == 2:
            tl.atomic_add(at + BINS + bins, of_g, mask=of_g > 0, sem="relaxed")


@triton.jit(do_not_specialize=["tensors"])
def _select(
    counts, found, sizes, values, left_out, tensors, SHIFT: tl.constexpr,
    WIDTH: tl.constexpr, FIRST: tl.constexpr, SIDES: tl.constexpr, READING: tl.constexpr, WIDE: tl.constexpr,
    LAST: tl.constexpr, BINS: tl.constexpr,
):  # fmt: skip
    """Takes the digit in which the rank falls, and leaves the counters at 0 for the next pass."""
    program = tl.program_id(0)
    tensor = program // SIDES
    side = program % SIDES
    bins = tl.arange(0, 1 << WIDTH)
    at = counts + program * BINS + bins
    count = tl.load(at)
    tl.store(at, tl.zeros([1 << WIDTH], tl.int32))
    below = tl.cumsum(count, axis=0)
    kept = tl.max(below, axis=0)
    if FIRST:
        if side == 0:
            tl.store(left_out + tensor, tl.load(sizes + tensor) - kept)
        rank = tl.where(kept > 0, (kept - 1) // 2, 0)
        prefix = tl.load(sizes) * 0
    else:
        rank = tl.load(found + tensors * SIDES + program).to(tl.int32)
        prefix = tl.load(found + program)
    digit = tl.sum((below <= rank).to(tl.int32), axis=0)
    rank -= tl.max(tl.where(below <= rank, below, 0), axis=0)
    digit = tl.where(kept > 0, digit, 0)
    prefix = (prefix << WIDTH) | digit
    tl.store(found + program, prefix)
    tl.store(found + tensors * SIDES + program, rank.to(tl.int64))
    if LAST:
        UNSIGNED: tl.constexpr = tl.uint64 if WIDE == tl.float64 else tl.uint32
        number = _number(prefix.to(UNSIGNED), READING, WIDE)
        tl.store(values + side * tensors + tensor, tl.where(kept > 0, number, 0.0))
