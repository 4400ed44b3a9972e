"""How far seeds spread: of one arm against another, and of searches against seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from study.intervals import SAME, SEEDS, Estimate
from study.statistics import accuracies


def spread_ratio(left: npt.ArrayLike, right: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """The standard deviation of `left` over that of `right`, with the F interval of independent normal samples.

    NaN from fewer than 3 seeds in either, or where either has no spread.
    """
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if min(a.size, b.size) < SEEDS or min(a.std(), b.std()) <= SAME:
        return Estimate(math.nan, math.nan, math.nan, min(a.size, b.size))
    ratio = float(a.var(ddof=1) / b.var(ddof=1))
    low, high = (float(stats.f.ppf(p, a.size - 1, b.size - 1)) for p in ((1 - confidence) / 2, (1 + confidence) / 2))
    return Estimate(ratio, ratio / high, ratio / low, min(a.size, b.size)).through(math.sqrt)


@dataclass(frozen=True)
class Luck:
    """Standard deviations of a cell's test accuracy: what the search's luck does to it, and what a seed's does.

    `between` is over searches, the share that seeds explain taken off (one-way analysis of variance, at least 0);
    `within` over the seeds of one search. NaN where there are too few.
    """

    between: float
    within: float
    searches: int


def luck(trials: pd.DataFrame, cells: Sequence[str]) -> Luck:
    """Search luck beside seed luck, from the repeated searches `cells` of one cell."""
    table = accuracies(trials, cells).dropna(axis=1, how="all").dropna()
    seeds, searches = table.shape
    if searches < 2 or seeds < 2:
        return Luck(math.nan, math.nan, searches)
    within = float(table.var(ddof=1).mean())
    between = max(0.0, float(table.mean().var(ddof=1)) - within / seeds)
    return Luck(math.sqrt(between), math.sqrt(within), searches)
