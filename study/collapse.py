"""Seeds that collapsed: a mean over them and the others speaks of neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

FALL = 0.10  # of accuracy, from which a seed below all better ones counts as collapsed
CLEAR = 2.0  # times the spread of the larger group that the fall between the two groups is wide


@dataclass(frozen=True)
class Collapse:
    """How a cell's complete seeds split: the accuracies of those that collapsed, in rising order, of `n` in all."""

    cell: str
    accuracies: tuple[float, ...]
    n: int

    @property
    def rate_bound(self) -> float:
        """The largest rate of collapse that these seeds do not exclude with 95 %."""
        return rate_bound(len(self.accuracies), self.n)

    @property
    def sentence(self) -> str:
        """`1 of 5 seeds ended at 62 %`; empty where none collapsed."""
        if not self.accuracies:
            return ""
        ends = list(dict.fromkeys(f"{100 * each:.0f} %" for each in self.accuracies))
        at = ends[0] if len(ends) == 1 else f"{', '.join(ends[:-1])} and {ends[-1]}"
        return f"{len(self.accuracies)} of {self.n} seeds ended at {at}"


def collapse(cell: str, accuracies: npt.ArrayLike) -> Collapse:
    """Which of a cell's `accuracies` (n,), fractions, collapsed.

    From the best seed down, the first fall that is at least FALL, and CLEAR times as wide as the larger of the two
    groups it parts is spread (of equal groups the better), parts those that trained from those that collapsed. Wide
    but even spread has no such fall.
    """
    values = np.sort(np.asarray(accuracies, dtype=np.float64))[::-1]
    for at in range(1, values.size):
        better, worse = values[:at], values[at:]
        spread = np.ptp(better if better.size >= worse.size else worse)
        if better[-1] - worse[0] >= max(FALL, CLEAR * spread):
            return Collapse(cell, tuple(float(each) for each in worse[::-1]), values.size)
    return Collapse(cell, (), values.size)


def rate_bound(count: int, n: int, confidence: float = 0.95) -> float:
    """The exact one-sided upper bound on a rate of which `count` of `n` was seen (Clopper and Pearson 1934).

    0 of 5 gives 0.451: five clean seeds exclude only rates above 45 %. NaN for n = 0.
    """
    if n == 0:
        return math.nan
    return 1.0 if count == n else float(stats.beta.ppf(confidence, count + 1, n - count))


def sentences(collapses: Sequence[Collapse]) -> tuple[str, ...]:
    """`sgd/512: 1 of 5 seeds ended at 62 %`, a line a cell where a seed collapsed."""
    return tuple(f"{each.cell}: {each.sentence}" for each in collapses if each.sentence)
