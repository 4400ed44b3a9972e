"""Means over a few seeds, with intervals that can be true.

Accuracies are bounded and often pile up below 100 %, and a cell has 3 to 10 seeds. Chosen by simulated coverage
(`python -m tests.reports.coverage`, at 3, 5 and 10 seeds), for a nominal 95 %:

- Student's t (1908) is right for normal samples, but its ends leave 0 … 100 %, and on the skewed samples that a
  ceiling makes it covers 88 to 90 %.
- Student's t on the logit scale by the delta method, logit(m) ± t s/(m(1 - m)) for a mean m with standard error s,
  keeps its ends inside and the plain mean within, and equals t where the spread is small against the distance to a
  bound. It covers as often as t on normal samples and more often, 88 to 95 %, on skewed ones. So `interval` does this.
  (For proportions: Brown, Cai and DasGupta 2001, Statistical Science 16(2), section 4.1; Agresti, Categorical Data
  Analysis, 2013, section 3.1.)
- The mean of the seeds' own logits is another quantity than the mean accuracy: its interval misses the latter in one of
  six skewed samples of 10 seeds.
- Bootstraps, BCa too (Efron 1987), cover 70 to 75 % at 3 seeds and 80 to 85 % at 5, which hold too few resamples
  (Hesterberg 2015, The American Statistician 69(4)).
- Exact sign-flip tests of paired differences reach 5 % from 6 seeds on only: their smallest two-sided p is 2/2ⁿ.

From fewer than 3 seeds nothing is drawn: with one degree of freedom t is 12.7, and the interval says no more than none.
No interval sees a rare collapse that none of its seeds met: `study.collapse` bounds that rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

SEEDS = 3  # that an interval needs
SAME = 1e-9  # accuracies this close are equal: one image in a billion

Bounds = tuple[float, float]
ANYWHERE: Bounds = (-math.inf, math.inf)
POSITIVE: Bounds = (0.0, math.inf)  # a size or a spread, which is never below 0
FRACTION: Bounds = (0.0, 1.0)  # of an accuracy
DIFFERENCE: Bounds = (-1.0, 1.0)  # of two accuracies


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds with the ends of its confidence interval; NaN where undefined."""

    mean: float
    low: float
    high: float
    n: int

    def through(self, rising: Callable[[float], float]) -> Estimate:
        """In another unit, or off a logarithmic scale: mean and ends through a function that rises."""
        return Estimate(rising(self.mean), rising(self.low), rising(self.high), self.n)

    @property
    def sign(self) -> int:
        """+1 or -1 where the whole interval lies on that side of 0, else 0: undecided.

        An interval of no width decides nothing: seeds that agree to the last image do not show their spread.
        """
        if not self.high - self.low > SAME:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def interval(values: npt.ArrayLike, confidence: float = 0.95, within: Bounds = ANYWHERE) -> Estimate:
    """The mean of `values` (n,) with its interval, which needs n ≥ 3; a mean needs n ≥ 1.

    `within`: what the quantity can be. Between two finite bounds the interval is Student's t on the logit scale (see
    the module), above a lower bound on the logarithmic one, else on the plain one; so it stays within them.
    """
    return intervals([values], [confidence], within)[0]


def intervals(
    samples: Sequence[npt.ArrayLike], confidences: Sequence[float], within: Bounds = ANYWHERE
) -> list[Estimate]:
    """As `interval`, of each sample with its own confidence; thousands at once."""
    given = [_moments(sample) for sample in samples]
    freedom = np.array([max(n - 1, 1) for n, _, _ in given])
    students = np.asarray(stats.t.ppf((1 + np.asarray(confidences, dtype=np.float64)) / 2, freedom))
    return [_interval(*moments, float(student), within) for moments, student in zip(given, students, strict=True)]


def _interval(n: int, mean: float, error: float, student: float, within: Bounds) -> Estimate:
    if n < SEEDS:
        return Estimate(mean, math.nan, math.nan, n)
    reach = student * error
    if reach == 0:
        return Estimate(mean, mean, mean, n)
    centre, slope = _link(mean, within)
    low, high = (_back(centre + sign * reach * slope, within) for sign in (-1, 1))
    return Estimate(mean, low, high, n)


def p_value(values: npt.ArrayLike, within: Bounds = ANYWHERE) -> float:
    """Of the two-sided test of a mean of 0 that rejects where `interval` leaves 0 out; 1 where there is none."""
    return p_values([values], within)[0]


def p_values(samples: Sequence[npt.ArrayLike], within: Bounds = ANYWHERE) -> list[float]:
    """As `p_value`, of each sample; thousands at once."""
    given = [_moments(sample) for sample in samples]
    drawn = intervals(samples, [0.95] * len(given), within)
    tested = [each.n >= SEEDS and each.high - each.low > SAME for each in drawn]
    zero = _link(0.0, within)[0]
    statistics = np.zeros(len(given))
    for at, (_, mean, error) in enumerate(given):
        if tested[at]:
            centre, slope = _link(mean, within)
            statistics[at] = abs((centre - zero) / (slope * error))
    freedom = np.array([max(n - 1, 1) for n, _, _ in given])
    found = np.asarray(2 * stats.t.sf(statistics, freedom))
    return [float(p) if there else 1.0 for p, there in zip(found, tested, strict=True)]


def _moments(values: npt.ArrayLike) -> tuple[int, float, float]:
    """How many values there are, their mean (NaN for none), and its standard error where an interval needs it."""
    sample = np.asarray(values, dtype=np.float64)
    n = sample.size
    return n, float(sample.mean()) if n else math.nan, _error(sample) if n >= SEEDS else math.nan


def simultaneous(
    samples: Sequence[npt.ArrayLike], confidence: float = 0.95, within: Bounds = ANYWHERE
) -> list[Estimate]:
    """One interval a sample, all of them right together with at least this confidence (Bonferroni)."""
    return intervals(samples, [1 - (1 - confidence) / len(samples)] * len(samples), within) if len(samples) else []


def _error(sample: npt.NDArray[np.float64]) -> float:
    """The mean's standard error; 0 where all values are the same but for rounding, NaN where one is not finite."""
    if not np.isfinite(sample).all():
        return math.nan
    if np.ptp(sample) <= 1e-12 * max(1.0, float(np.abs(sample).max())):
        return 0.0
    return float(sample.std(ddof=1) / math.sqrt(sample.size))


def _link(mean: float, within: Bounds) -> tuple[float, float]:
    """`mean` on the scale that the interval is symmetric on, and that scale's slope there (the delta method)."""
    low, high = within
    if math.isinf(low):
        return mean, 1.0
    if math.isinf(high):
        return math.log(mean - low), 1 / (mean - low)
    share = (mean - low) / (high - low)
    return float(special.logit(share)), 1 / ((high - low) * share * (1 - share))


def _back(linked: float, within: Bounds) -> float:
    """The inverse of `_link`'s scale."""
    low, high = within
    if math.isinf(low):
        return linked
    return low + (math.exp(min(linked, 700.0)) if math.isinf(high) else (high - low) * float(special.expit(linked)))
