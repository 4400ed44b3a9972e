"""Statistics of tensors that a radius is made of; on a GPU without synchronising with the host.

Each takes k tensors of one device and dtype and returns one float64 number for each, shape (k,), there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Tensors = Sequence[Tensor]
Array = np.ndarray[Any, Any]
SAMPLE = 4096  # entries that bracket a median
PIECE = 1 << 19  # entries that stay in cache


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


def mean_ratios(tops: Tensors, bottoms: Tensors, beta: float, floor: float) -> Tensor:
    """Means of |a + βb| / max(|b|, floor) for each a of `tops` and b of `bottoms`; 0 for empty tensors."""
    return torch.stack([_mean_ratio(a, b, beta, floor) for a, b in zip(tops, bottoms, strict=True)])


def _mean_ratio(a: Tensor, b: Tensor, beta: float, floor: float) -> Tensor:
    # on a CPU piece by piece: in cache, a temporary costs nothing beside the arithmetic
    size = PIECE if a.device.type == "cpu" else max(a.numel(), 1)
    pieces = zip(torch.split(a.flatten(), size), torch.split(b.flatten(), size), strict=True)
    sums = [_sum_of_ratios(wide(x), wide(y), beta, floor) for x, y in pieces]
    return torch.stack(sums).sum() / max(a.numel(), 1)


def _sum_of_ratios(a: Tensor, b: Tensor, beta: float, floor: float) -> Tensor:
    ratios = b.abs().clamp_min_(floor)
    torch.div(torch.add(a, b, alpha=beta) if beta else a, ratios, out=ratios)
    total: Tensor = torch.linalg.vector_norm(ratios, 1).double()
    return total


def thinned(x: Tensor, entries: int) -> Tensor:
    """About `entries` of the tensor's, at a fixed odd stride; all of them where it has no more."""
    stride = x.numel() // entries
    if stride <= 1:
        return x
    return x.flatten()[:: stride | 1].contiguous()  # an even stride would meet the same few channels


def medians(tensors: Iterable[Tensor], masks: Tensors | None = None) -> Tensor:
    """Medians of the entries where the mask holds: the lower of two, as torch.median; 0 of none.

    One tensor at a time: a generator's temporaries never lie side by side.
    """
    return torch.stack([_one_median(x, masks[i] if masks else None) for i, x in enumerate(tensors)])


def _one_median(x: Tensor, mask: Tensor | None) -> Tensor:
    return _median_on_cpu(x, mask) if x.device.type == "cpu" else _median_on_device(x, mask)


def _median_on_cpu(x: Tensor, mask: Tensor | None) -> Tensor:
    entries = wide(x).detach().numpy().ravel()
    kept = None if mask is None else mask.numpy().ravel()
    return torch.tensor(_median(entries, kept), dtype=torch.float64)


def _median(x: Array, mask: Array | None) -> float:
    """Selects among the entries between two of a sample that most likely enclose the median: a few percent.

    Faster than numpy's partition of all entries, and exact: where the sample misled, that is the answer.
    """
    count = x.size if mask is None else int(np.count_nonzero(mask))
    mask = None if count == x.size else mask
    if count == 0:
        return 0.0
    middle = (count - 1) // 2
    stride = x.size // SAMPLE | 1  # odd, or it would meet the same few channels again and again
    sample = np.sort(x[::stride] if mask is None else x[::stride][mask[::stride]])
    margin = int(2 * sample.size**0.5) + 1  # four standard deviations of the rank
    centre = sample.size // 2
    if stride > 1 and centre > margin:
        low, high = sample[centre - margin], sample[centre + margin]
        below, inside = x < low, (x >= low) & (x <= high)
        if mask is not None:
            below, inside = below & mask, inside & mask
        rank = middle - int(np.count_nonzero(below))
        among = x.compress(inside)
        if 0 <= rank < among.size:
            return float(np.partition(among, rank)[rank])
    entries = x if mask is None else x.compress(mask)
    return float(np.partition(entries, middle)[middle])


def _median_on_device(x: Tensor, mask: Tensor | None) -> Tensor:
    # The mask's count stays on the device: the masked entries sort last and the middle is gathered.
    kept = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    ordered = torch.where(kept, wide(x), float("inf")).flatten().sort().values
    count = kept.sum()
    if x.numel() == 0:
        return ordered.new_zeros((), dtype=torch.float64)
    middle = ordered.take((count - 1).clamp_min(0) // 2).double()
    return torch.where(count > 0, middle, 0.0)
