"""Tensors that lie in memory alike, in whatever order of their dimensions: a kernel may walk them side by side."""

from __future__ import annotations

import torch
from torch import Tensor


def side_by_side(*tensors: Tensor) -> bool:
    """Whether the tensors have one shape and lie in memory in one order, without holes."""
    first = tensors[0]
    alike = all(x.shape == first.shape and x.stride() == first.stride() for x in tensors[1:])
    channels_last = first.ndim == 4 and first.is_contiguous(memory_format=torch.channels_last)
    return alike and (channels_last or first.is_contiguous())


def in_memory_order(x: Tensor) -> Tensor:
    """All entries of a tensor without holes (see `side_by_side`), as a view (numel,) in the order in which they lie."""
    return x.as_strided((x.numel(),), (1,))
