"""Statistics of tensors that a radius is made of; on a GPU without synchronising with the host.

Each takes k tensors of one device and dtype and returns one float64 number for each, shape (k,), there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from trainables.optimizers.memory import in_memory_order, side_by_side

Tensors = Sequence[Tensor]
Array = np.ndarray[Any, Any]
PIECE = 1 << 17  # A CPU takes this many entries at a time, which stay in a core's cache.
THREADED = 1 << 19  # From this many entries on a second thread pays.
Item = TypeVar("Item")
Result = TypeVar("Result")


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


def any_entry(tensors: Tensors) -> Tensor:
    """1 for each tensor with an entry that is not 0 (NaN is not), 0 for those of zeros and for empty ones."""
    if tensors[0].device.type == "cpu":
        return torch.tensor([float(_any_entry_on_cpu(x)) for x in tensors], dtype=torch.float64)
    return (
        torch.stack(torch._foreach_norm(list(tensors), 1)) != 0
    ).double()  # which empty ones have, unlike the largest


def _any_entry_on_cpu(x: Tensor) -> bool:
    if x.numel() == 0:
        return False
    return bool(x[(0,) * x.ndim] != 0) or bool(x.any())  # nearly always the first entry is enough


def mean_ratios(tops: Tensors, bottoms: Tensors, beta: float, floor: float) -> Tensor:
    """Means of |a + βb| / max(|b|, floor) for each a of `tops` and b of `bottoms`; 0 for empty tensors."""
    if tops[0].device.type == "cpu":
        return _mean_ratios_on_cpu(tops, bottoms, beta, floor)
    pairs = ((wide(a), wide(b)) for a, b in zip(tops, bottoms, strict=True))
    sums = [torch.linalg.vector_norm((a + beta * b) / b.abs().clamp_min_(floor), 1).double() for a, b in pairs]
    return torch.stack([total / max(a.numel(), 1) for total, a in zip(sums, tops, strict=True)])


def _mean_ratios_on_cpu(tops: Tensors, bottoms: Tensors, beta: float, floor: float) -> Tensor:
    # In numpy and piece by piece: in cache, a temporary costs nothing beside the arithmetic.
    pairs = [(i, *pair) for i, tensors in enumerate(zip(tops, bottoms, strict=True)) for pair in _pieces(*tensors)]
    dtype = torch.promote_types(tops[0].dtype, torch.float32)

    def sums(some: Sequence[tuple[int, Tensor, Tensor]]) -> list[float]:
        room = torch.empty(2, PIECE, dtype=dtype).numpy()
        return [_sum_of_ratios(_array(a), _array(b), beta, floor, room[:, : a.numel()]) for _, a, b in some]

    totals = np.zeros(len(tops))
    np.add.at(totals, [i for i, _, _ in pairs], _in_threads(sums, pairs, sum(a.numel() for a in tops)))
    return torch.from_numpy(totals / [max(a.numel(), 1) for a in tops])


def _sum_of_ratios(a: Array, b: Array, beta: float, floor: float, room: Array) -> float:
    bottom, ratio = room
    with np.errstate(all="ignore"):
        np.maximum(np.abs(b, out=bottom), floor, out=bottom)
        if beta:
            a = np.add(a, np.multiply(b, beta, out=ratio), out=ratio)
        np.abs(np.divide(a, bottom, out=ratio), out=ratio)
        return float(ratio.sum())


def _pieces(a: Tensor, b: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """A few entries of each at a time."""
    flatten = in_memory_order if side_by_side(a, b) else Tensor.flatten
    return zip(*(torch.split(flatten(x.detach()), PIECE) for x in (a, b)), strict=True)


def _array(x: Tensor) -> Array:
    array: Array = wide(x.detach()).numpy().ravel()
    return array


def _in_threads(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], entries: int) -> list[Result]:
    """What `work` makes of `items`, in their order, as many threads as torch has taking turns at them."""
    threads = min(torch.get_num_threads(), len(items))
    if threads < 2 or entries < THREADED:
        return work(items)
    results: dict[int, Result] = {}
    with ThreadPoolExecutor(threads) as pool:  # numpy and torch let go of the interpreter
        turns = [range(first, len(items), threads) for first in range(threads)]
        for turn, share in zip(turns, pool.map(lambda turn: work([items[i] for i in turn]), turns), strict=True):
            results.update(zip(turn, share, strict=True))
    return [results[i] for i in range(len(items))]


def thinned(x: Tensor, entries: int) -> Tensor:
    """About `entries` of the tensor's at a fixed stride; all of them where it has few more."""
    step = stride(x.numel(), entries)
    return x if step == 1 else x.flatten()[::step].contiguous()


def stride(size: int, entries: int) -> int:
    """The least step that leaves no more than about `entries` of `size` and has no factor in common with 6.

    An even one would meet the same few channels again and again, and a multiple of 3 one column of 3×3 kernels.
    """
    step = max(size // entries, 1)
    while math.gcd(step, 6) > 1:
        step += 1
    return step


def medians(tensors: Iterable[Tensor], *, absolute: bool = False) -> Tensor:
    """Medians, of |x| if `absolute`: the lower of two, as torch.median; 0 of none.

    One tensor at a time: a generator's temporaries never lie side by side.
    """
    return torch.stack([_one_median(x, None, absolute)[0] for x in tensors])


def masked_medians(tensors: Iterable[Tensor], masks: Tensors, *, absolute: bool = False) -> tuple[Tensor, Tensor]:
    """`medians` of the entries where the mask is not 0, and how many entries that leaves out: (k,) and (k,).

    Tensors given as a list are read side by side on a CPU.
    """

    def each(pairs: Iterable[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        return [_one_median(x, mask, absolute) for x, mask in pairs]

    pairs = zip(tensors, masks, strict=True)
    if isinstance(tensors, Sequence) and masks[0].device.type == "cpu":
        results = _in_threads(each, list(pairs), sum(mask.numel() for mask in masks))
    else:
        results = each(pairs)
    values, left_out = zip(*results, strict=True)
    return torch.stack(values), torch.stack(left_out)


def _one_median(x: Tensor, mask: Tensor | None, absolute: bool) -> tuple[Tensor, Tensor]:
    """The median, and how many entries the mask left out."""
    return (_median_on_cpu if x.device.type == "cpu" else _median_on_device)(x, mask, absolute)


def _median_on_cpu(x: Tensor, mask: Tensor | None, absolute: bool = False) -> tuple[Tensor, Tensor]:
    value, kept = _median(_array(x), None if mask is None else _array(mask), absolute)
    return torch.tensor(value, dtype=torch.float64), torch.tensor(x.numel() - kept)


def _median(x: Array, mask: Array | None, absolute: bool) -> tuple[float, int]:
    """Selects among the entries between two of a sample that most likely enclose the median: a few percent.

    Faster than a partition of all entries, and exact: where the sample misled, that is the answer.
    """
    low, high = _bracket(x, mask, absolute)
    kept, below, inside = 0, 0, []
    for start in range(0, x.size, PIECE):
        part = slice(start, start + PIECE)
        y = np.abs(x[part]) if absolute else x[part]
        lower, among = y < low, y <= high
        if mask is None:
            kept += y.size
        else:
            counted = mask[part] != 0
            kept += int(np.count_nonzero(counted))
            lower &= counted
            among &= counted
        below += int(np.count_nonzero(lower))
        among ^= lower
        inside.append(y[among])
    if kept == 0:
        return 0.0, 0
    middle = (kept - 1) // 2
    few = np.concatenate(inside)
    if 0 <= middle - below < few.size:
        return float(np.partition(few, middle - below)[middle - below]), kept
    x = x if mask is None else x[mask != 0]
    return float(np.partition(np.abs(x) if absolute else x, middle)[middle]), kept


def _bracket(x: Array, mask: Array | None, absolute: bool) -> tuple[float, float]:
    """Two numbers that most likely enclose the median; infinite where there are few entries."""
    step = stride(x.size, int((2 * x.size) ** (2 / 3)) + 1)  # which makes the work on both sides of it alike
    sample = x[::step] if mask is None else x[::step][mask[::step] != 0]
    margin = int(1.5 * sample.size**0.5) + 1  # three standard deviations of the rank
    low, high = sample.size // 2 - margin, sample.size // 2 + margin
    if step == 1 or low < 0 or high >= sample.size:
        return -math.inf, math.inf
    ordered = np.partition(np.abs(sample) if absolute else sample, (low, high))
    return float(ordered[low]), float(ordered[high])


def _median_on_device(x: Tensor, mask: Tensor | None, absolute: bool = False) -> tuple[Tensor, Tensor]:
    # The mask's count stays on the device: the masked entries sort last and the middle is gathered.
    kept = torch.ones_like(x, dtype=torch.bool) if mask is None else mask != 0
    count = kept.sum()
    entries = wide(x).abs() if absolute else wide(x)
    ordered = torch.where(kept, entries, math.inf).flatten().sort().values
    if x.numel() == 0:
        return ordered.new_zeros((), dtype=torch.float64), count
    middle = ordered.take((count - 1).clamp_min(0) // 2).double()
    return torch.where(count > 0, middle, 0.0), x.numel() - count
