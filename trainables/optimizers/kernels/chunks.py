"""How tensors of all sizes share one launch: cut into chunks, one a program, which a table tells where to work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 1 << 14  # entries that a program walks: some hundred programs for a net of some million weights
BLOCK = 1 << 11  # of which so many at a time
WARPS = 8


class Chunks:
    """The chunks of k tensors of given sizes; the tables lie on the device, int64.

    Attributes:
        table: (chunks, 3), each chunk's tensor, first entry and number of entries, in the tensors' order.
        first: (k + 1,), each tensor's first chunk; the last is their number.
        sizes: (k,).
        starts: `first` on the host.
    """

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        rows = [
            (tensor, start, min(CHUNK, size - start))
            for tensor, size in enumerate(sizes)
            for start in range(0, size, CHUNK)
        ]
        self.starts = [0]
        for size in sizes:
            self.starts.append(self.starts[-1] + -(-size // CHUNK))
        self.count = len(rows)
        flat = upload([*(x for row in rows for x in row), *self.starts, *sizes], device)
        self.table, self.first, self.sizes = flat.split([3 * self.count, len(self.starts), len(sizes)])


def upload(numbers: Sequence[int], device: torch.device) -> Tensor:
    """`numbers` as int64 on the device, without waiting.

    The host's side is page-locked memory of torch's cache, which takes a block back once the copy from it is done.
    """
    host = torch.tensor(numbers, dtype=torch.int64, pin_memory=device.type == "cuda")
    return host.to(device, non_blocking=True)


def launch(kernel: Any, programs: int, device: torch.device, *args: Any, **constants: Any) -> None:
    """Runs `programs` of a kernel on the device's current stream. All kernels start here."""
    if programs == 0:
        return
    if device.type == "cuda" and device.index != torch.cuda.current_device():
        with torch.cuda.device(device):
            kernel[(programs,)](*args, **constants)
    else:
        kernel[(programs,)](*args, **constants)


@triton.jit
def chunk(table):
    """This program's tensor, first entry and number of entries."""
    row = table + 3 * tl.program_id(0)
    return tl.load(row), tl.multiple_of(tl.load(row + 1), 16), tl.load(row + 2).to(tl.int32)


@triton.jit
def memory(addresses, tensor, DTYPE: tl.constexpr, ALIGNED: tl.constexpr):
    """Where the tensor lies. `ALIGNED` promises a multiple of 16 bytes, so that loads are of as many."""
    there = tl.load(addresses + tensor).to(tl.pointer_type(DTYPE))
    if ALIGNED:
        there = tl.multiple_of(there, 16)
    return there


# A chunk is walked in two parts (`for PART in tl.static_range(2)`): blocks that are whole, whose entries are read and
# written without asking for each whether it is there, and what is left.


@triton.jit
def low(entries, PART: tl.constexpr, BLOCK: tl.constexpr):
    """Where the part begins."""
    return 0 if PART == 0 else entries // BLOCK * BLOCK


@triton.jit
def high(entries, PART: tl.constexpr, BLOCK: tl.constexpr):
    """Where the part ends."""
    return entries // BLOCK * BLOCK if PART == 0 else entries


@triton.jit
def read(at, inside, WIDE: tl.constexpr, PART: tl.constexpr):
    """A block's entries, 0 outside."""
    return (tl.load(at) if PART == 0 else tl.load(at, mask=inside, other=0.0)).to(WIDE)


@triton.jit
def write(at, x, inside, PART: tl.constexpr):
    """Stores a block's entries."""
    if PART == 0:
        tl.store(at, x)
    else:
        tl.store(at, x, mask=inside)
