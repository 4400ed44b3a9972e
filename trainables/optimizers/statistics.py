"""Statistics of tensors that a radius is made of; on a GPU without synchronising with the host.

Each takes k tensors of one device and dtype and returns one float64 number for each, shape (k,), there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Tensors = Sequence[Tensor]


def wide(x: Tensor) -> Tensor:
    """`x` in at least float32, so that a statistic of bfloat16 entries is not itself rounded to 8 bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def norms(tensors: Tensors) -> Tensor:
    """Euclidean norms ‖x‖₂; squares of large or small entries neither overflow nor vanish. NaN stays NaN."""
    if tensors[0].device.type == "cpu":
        return torch.tensor([_norm_on_cpu(x) for x in tensors], dtype=torch.float64)
    if tensors[0].dtype == torch.float64:
        return torch.stack([_scaled_norm(x) for x in tensors])
    return torch.stack(torch._foreach_norm(list(tensors), 2, dtype=torch.float64))


def _norm_on_cpu(x: Tensor) -> float:
    # Summing in float64 is five times slower, so it is kept for the rare tensor that needs it.
    dtype = torch.promote_types(x.dtype, torch.float32)
    quick = float(torch.linalg.vector_norm(x, dtype=dtype))
    lost_below = (x.numel() * torch.finfo(dtype).tiny) ** 0.5 / torch.finfo(dtype).eps
    return quick if lost_below < quick < float("inf") else float(_scaled_norm(x))


def _scaled_norm(x: Tensor) -> Tensor:
    if x.numel() == 0:
        return x.new_zeros((), dtype=torch.float64)
    x = x.double()
    peak = x.abs().amax()
    unit = torch.where((peak > 0) & peak.isfinite(), peak, 1.0)
    norm: Tensor = unit * torch.linalg.vector_norm(x / unit)
    return norm


def means(tensors: Tensors) -> Tensor:
    """Means of the entries; 0 for an empty tensor."""
    return torch.stack([wide(x).sum().double() / max(x.numel(), 1) for x in tensors])


def medians(tensors: Tensors, masks: Tensors | None = None) -> Tensor:
    """Medians of the entries where the mask holds: the lower of two, as torch.median; 0 where none is left."""
    one = _median_on_cpu if tensors[0].device.type == "cpu" else _median_on_device
    return torch.stack([one(x, masks[i] if masks else None) for i, x in enumerate(tensors)])


def _median_on_cpu(x: Tensor, mask: Tensor | None) -> Tensor:
    # numpy's partition finds it several times faster than torch.median
    entries = (wide(x) if mask is None else wide(x)[mask]).detach().numpy().ravel()
    middle = (entries.size - 1) // 2
    value = np.partition(entries, middle)[middle] if entries.size else 0.0
    return torch.tensor(float(value), dtype=torch.float64)


def _median_on_device(x: Tensor, mask: Tensor | None) -> Tensor:
    # The mask's count stays on the device: the masked entries sort last and the middle is gathered.
    kept = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    ordered = torch.where(kept, wide(x), float("inf")).flatten().sort().values
    count = kept.sum()
    if x.numel() == 0:
        return ordered.new_zeros((), dtype=torch.float64)
    middle = ordered.take((count - 1).clamp_min(0) // 2).double()
    return torch.where(count > 0, middle, 0.0)
