"""Which arms are better than which at each batch size: ranks that the seeds can carry, and how many seeds would tell.

All pairs of arms at all batch sizes are compared seed by seed, and what is said of them holds together with 95 %
(Holm 1979). So do the ranks: an arm's lies between one more than the arms that are better than it beyond doubt, and the
number of arms less those that are worse (Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic Studies 91(1)).
Accuracies are fractions of 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from study.holm import holm
from study.intervals import DIFFERENCE, FRACTION, SEEDS, Estimate, interval
from study.seeds import SEARCH_SEEDS
from study.statistics import accuracies, arm_of, batch_size_of

Sample = npt.NDArray[np.float64]
Standing = Literal["better", "worse", "same", "undecided"]


@dataclass(frozen=True)
class Pair:
    """Two arms at one batch size. `difference`: `arm`'s test accuracy minus `other`'s, over the seeds of both."""

    batch_size: int
    arm: str
    other: str
    difference: Estimate
    margin: float  # accuracies that differ by no more are the same
    spread: float  # of the seeds' differences: their standard deviation; NaN below two seeds

    @property
    def standing(self) -> Standing:
        """Of `arm` against `other`: beyond doubt better or worse, the same to within the margin, or undecided."""
        if self.difference.sign:
            return "better" if self.difference.sign > 0 else "worse"
        return "same" if self.small else "undecided"

    @property
    def small(self) -> bool:
        """Whether the two differ by no more than the margin, although they may differ beyond doubt."""
        return self.difference.low >= -self.margin and self.difference.high <= self.margin  # NaN is in no margin

    @property
    def turned(self) -> Pair:
        """The same from the other's side."""
        mean, low, high = (-each for each in (self.difference.mean, self.difference.high, self.difference.low))
        return replace(self, arm=self.other, other=self.arm, difference=Estimate(mean, low, high, self.difference.n))


@dataclass(frozen=True)
class Place:
    """An arm at one batch size: its accuracy, and the best and the worst rank that the seeds allow it."""

    batch_size: int
    arm: str
    accuracy: Estimate
    best: int
    worst: int

    @property
    def rank(self) -> str:
        """`"1"`, or `"1–3"` where the seeds do not tell."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


@dataclass(frozen=True)
class Ranking:
    """All pairs of arms at all batch sizes, and each arm's place."""

    pairs: tuple[Pair, ...]
    places: tuple[Place, ...]  # batch sizes from small to large, at each the most accurate arm first

    def at(self, batch_size: int) -> tuple[Place, ...]:
        """The places at one batch size, the most accurate arm first; arms without a complete seed are not there."""
        return tuple(place for place in self.places if place.batch_size == batch_size)

    def pair(self, batch_size: int, arm: str, other: str) -> Pair | None:
        """`arm` against `other`; None where no seed is complete in both."""
        pair = self._by_name.get((batch_size, arm, other))
        return pair if pair is not None and pair.difference.n else None

    @cached_property
    def _by_name(self) -> dict[tuple[int, str, str], Pair]:
        both = [each for pair in self.pairs for each in (pair, pair.turned)]
        return {(pair.batch_size, pair.arm, pair.other): pair for pair in both}


def ranking(trials: pd.DataFrame, cells: Sequence[str], margin: float) -> Ranking:
    """Of the arms in `cells` by the test accuracy of their confirm trials; `margin` as in `Pair`."""
    test = accuracies(trials, cells)
    by_size: dict[int, list[str]] = {}
    for cell in cells:
        if test[cell].notna().any():
            by_size.setdefault(batch_size_of(cell), []).append(cell)
    rivals = [(size, *both) for size in sorted(by_size) for both in combinations(by_size[size], 2)]
    seeds = {cell: test[cell].to_numpy() for cell in test}
    samples = [_paired(seeds[left], seeds[right]) for _, left, right in rivals]
    pairs = tuple(
        Pair(size, arm_of(left), arm_of(right), estimate, margin, _spread(sample))
        for (size, left, right), sample, estimate in zip(rivals, samples, holm(samples, within=DIFFERENCE), strict=True)
    )
    beaten, beats = _counts(pairs)
    places = [
        Place(
            size,
            arm := arm_of(cell),
            interval(test[cell].dropna(), within=FRACTION),
            1 + beaten[size, arm],
            len(there) - beats[size, arm],
        )
        for size, there in sorted(by_size.items())
        for cell in there
    ]
    return Ranking(pairs, tuple(sorted(places, key=lambda place: (place.batch_size, -place.accuracy.mean))))


def _counts(pairs: Sequence[Pair]) -> tuple[Counter[tuple[int, str]], Counter[tuple[int, str]]]:
    """By batch size and arm: how many arms are better than it, and how many worse."""
    beaten: Counter[tuple[int, str]] = Counter()
    beats: Counter[tuple[int, str]] = Counter()
    for pair in pairs:
        for each in (pair, pair.turned):
            beats[each.batch_size, each.arm] += each.standing == "better"
            beaten[each.batch_size, each.arm] += each.standing == "worse"
    return beaten, beats


def _paired(left: Sample, right: Sample) -> Sample:
    """`left - right` over the seeds that both hold."""
    difference = left - right
    return difference[~np.isnan(difference)]


def _spread(sample: Sample) -> float:
    return float(sample.std(ddof=1)) if sample.size > 1 else math.nan


def seeds_wanted(spread: float, margin: float, confidence: float = 0.95) -> int | None:
    """How many seeds narrow the interval of a mean difference down to ± `margin`, at this `spread` from seed to seed.

    Student's t, t(n - 1) · spread / √n ≤ margin: then the difference is beyond doubt larger than 0, smaller than the
    margin, or both. Precision, not power, so that nothing hangs on the difference seen so far (Kelley and Maxwell 2003,
    Psychological Methods 8(3)). None where more than SEARCH_SEEDS would be wanted, or the spread is unknown.
    """
    if not (math.isfinite(spread) and margin > 0):
        return None
    n: npt.NDArray[np.int64] = np.arange(SEEDS, SEARCH_SEEDS + 1)
    enough = n[reach(spread, n, confidence) <= margin]
    return int(enough[0]) if enough.size else None


def reach(spread: float, seeds: npt.ArrayLike, confidence: float = 0.95) -> Sample:
    """Half of what an interval of the mean of so many differences spans, at this `spread` from seed to seed."""
    n = np.asarray(seeds)
    return np.asarray(stats.t.ppf((1 + confidence) / 2, n - 1) * spread / np.sqrt(n))
