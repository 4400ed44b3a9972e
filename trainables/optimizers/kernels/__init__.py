"""Triton kernels for the layer-wise family and LAMB: a step is a few launches over all tensors, whatever their number.

On a GPU a step by torch's multi-tensor calls is bound by launches, one or more a tensor for each statistic. Here one
launch covers the tensors of a batch, of all sizes: they are cut into chunks of `chunks.CHUNK` entries, a table in
device memory says which chunk a program walks (`chunks.py`), and another where each tensor lies (`walks.py`). What the
kernels compute stands in `reductions.py`, `medians.py`, `guards.py`, `moves.py` and `adam.py`, with the equation and
the bytes that a weight costs.

The multi-tensor path stays the reference, and what this one does not take: other devices, no Triton, tensors whose
memory is not walked side by side (see `fits`), subclasses of tensors, steps that are being compiled. `foreach=True` or
`False` asks for it, and the environment variable `TRAINABLES_KERNELS=0`, or `kernels.ENABLED = False`, for all of them.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from trainables.optimizers.kernels.walks import Walk

ENABLED = os.environ.get("TRAINABLES_KERNELS", "1") != "0"
DEVICES = {"cuda"}  # tests add "cpu", where Triton's interpreter runs them
PLAIN = (Tensor, nn.Parameter)  # a subclass's memory is its own affair


@cache
def installed() -> bool:
    """Whether Triton is there; it comes with torch for CUDA."""
    return importlib.util.find_spec("triton") is not None


def state() -> object:
    """What beside the tensors decides whether kernels move them."""
    return ENABLED, torch.compiler.is_compiling()


def fits(asked: bool | None, p: Tensor, g: Tensor) -> bool:
    """Whether kernels move `p`, with gradient `g`, under the option `foreach` as `asked`.

    They walk tensors in the order of their memory, so the two must lie in it alike, and without gaps.
    """
    return (
        ENABLED
        and asked is None
        and p.device.type in DEVICES
        and type(p) in PLAIN
        and type(g) in PLAIN
        and p.dtype == g.dtype
        and g.device == p.device
        and ((p.is_contiguous() and g.is_contiguous()) or _lie_alike(p, g))
        and installed()
        and not torch.compiler.is_compiling()
    )


def _lie_alike(p: Tensor, g: Tensor) -> bool:
    """Whether both are dense with the same dimension last in memory; strides of dimensions of size 1 say nothing."""
    return any(_moved(p, dim) and _moved(g, dim) for dim in range(min(p.ndim, 2)))


def _moved(x: Tensor, dim: int) -> bool:
    return x.movedim(dim, -1).is_contiguous()


def layout(p: Tensor) -> tuple[int, int]:
    """(C, S) of a tensor that `fits`: its entry (n, c, s) lies at place (n·S + s)·C + c, where n, c, s count alike.

    A contiguous tensor is (1, size); channels last, (n, C, h, w), is (C, h·w); a transposed matrix (a, b) is (a, b).
    """
    if p.is_contiguous():
        return 1, max(p.numel(), 1)
    dim = next(dim for dim in range(min(p.ndim, 2)) if _moved(p, dim))
    return p.shape[dim], p.shape[dim + 1 :].numel()


def walk(params: list[Tensor], adapted: int) -> Walk:
    """The tables of `params`, tensors of one device and dtype that fit, of which the first ones are `adapted`.

    Triton is imported here, and not before.
    """
    from trainables.optimizers.kernels.walks import Walk

    return Walk(params, adapted)
