"""How often intervals hold the truth, by simulation; `python -m tests.reports.coverage` prints the whole table.

Every row draws samples whose true mean is known, as accuracies or as paired differences of accuracies, and counts how
often each kind of 95 % interval holds it: Student's t, BCa (Efron 1987) and the one that the reports draw. Where seeds
may collapse, only samples in which one did are counted, as no interval sees a collapse that none of its seeds met; for
these stands the exact bound on the rate of collapse that as many clean seeds do not exclude.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import stats

from study.collapse import collapse, rate_bound
from study.intervals import DIFFERENCE, FRACTION, Bounds, interval

Sample = npt.NDArray[np.float64]  # (repeats, seeds)
Ends = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
SEEDS = (3, 5, 10)
RESAMPLES = 1000


@dataclass(frozen=True)
class Kind:
    """A way in which seeds spread. `draw` takes a generator and (repeats, seeds); `mean` is the truth."""

    name: str
    shape: str  # normal, skewed or bimodal
    draw: Callable[[np.random.Generator, tuple[int, int]], Sample]
    mean: float
    within: Bounds = FRACTION


def _bimodal(draw: np.random.Generator, size: tuple[int, int], low: float, rate: float = 0.2) -> Sample:
    """Around 0.9, but around `low` at this rate."""
    return np.where(draw.random(size) < rate, low, 0.9) + draw.normal(0, 0.01, size)


KINDS = (
    Kind("N(0.86, 0.01)", "normal", lambda draw, size: draw.normal(0.86, 0.01, size), 0.86),
    Kind("N(0.97, 0.008)", "normal", lambda draw, size: draw.normal(0.97, 0.008, size), 0.97),
    Kind("N(0.6, 0.05)", "normal", lambda draw, size: draw.normal(0.6, 0.05, size), 0.6),
    Kind("0.95 − Exp(0.02)", "skewed", lambda draw, size: 0.95 - draw.exponential(0.02, size), 0.93),
    Kind("0.99 − Exp(0.02)", "skewed", lambda draw, size: 0.99 - draw.exponential(0.02, size), 0.97),
    Kind("Beta(19, 1)", "skewed", lambda draw, size: draw.beta(19, 1, size), 0.95),
    Kind("0.9, or 0.6 in 20 %", "bimodal", lambda draw, size: _bimodal(draw, size, 0.6), 0.84),
    Kind("0.9, or 0.1 in 20 %", "bimodal", lambda draw, size: _bimodal(draw, size, 0.1), 0.74),
    Kind("0.9, or 0.6 in 5 %", "bimodal", lambda draw, size: _bimodal(draw, size, 0.6, 0.05), 0.885),
    Kind("gap of N(·, 0.01) twice", "normal",
         lambda draw, size: draw.normal(0.9, 0.01, size) - draw.normal(0.86, 0.01, size), 0.04, DIFFERENCE),
    Kind("gap to 0.86 − Exp(0.02)", "skewed",
         lambda draw, size: draw.normal(0.9, 0.003, size) - 0.86 + draw.exponential(0.02, size), 0.06, DIFFERENCE),
    Kind("gap to 0.9, or 0.6 in 20 %", "bimodal",
         lambda draw, size: draw.normal(0.9, 0.01, size) - _bimodal(draw, size, 0.6), 0.06, DIFFERENCE),
)  # fmt: skip


def ours(sample: Sample, within: Bounds) -> Ends:
    """The intervals that reports draw, by `study.intervals.interval` itself."""
    estimates = [interval(row, within=within) for row in sample]
    return np.array([each.low for each in estimates]), np.array([each.high for each in estimates])


def student(sample: Sample) -> Ends:
    """Student's t intervals, by scipy."""
    n = sample.shape[1]
    low, high = stats.t.interval(0.95, n - 1, sample.mean(1), stats.sem(sample, axis=1))
    return np.asarray(low), np.asarray(high)


def bca(sample: Sample, draw: np.random.Generator) -> Ends:
    """The bias-corrected and accelerated bootstrap, by scipy."""
    result = stats.bootstrap((sample,), np.mean, axis=1, n_resamples=RESAMPLES, method="BCa", rng=draw)
    return np.asarray(result.confidence_interval.low), np.asarray(result.confidence_interval.high)


def share(ends: Ends, mean: float) -> float:
    """Of the intervals that hold `mean`."""
    low, high = ends
    return float(np.mean((low <= mean) & (mean <= high)))


def counted(kind: Kind, draw: np.random.Generator, repeats: int, seeds: int) -> Sample:
    """Samples of one kind; of those that may collapse, the ones in which a seed did."""
    sample = kind.draw(draw, (repeats, seeds))
    if kind.shape != "bimodal":
        return sample
    accuracies = sample if kind.within == FRACTION else 0.9 - sample
    return sample[[bool(collapse("", row).accuracies) or bool((row < 0.75).all()) for row in accuracies]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of 95 % intervals by simulation.")
    parser.add_argument("--repeats", type=int, default=20_000)
    parser.add_argument("--bootstraps", type=int, default=2_000, help="repeats for BCa, which is slow")
    options = parser.parse_args()
    table = Table(box=None, pad_edge=False)
    for title in ("seeds spread as", "shape", "n", "t, %", "t outside, %", "BCa, %", "ours, %", "rate not excluded, %"):
        table.add_column(title, justify="left" if title in ("seeds spread as", "shape") else "right")
    for kind in KINDS:
        for seeds in SEEDS:
            draw = np.random.default_rng([seeds, KINDS.index(kind)])
            sample = counted(kind, draw, options.repeats, seeds)
            low, high = student(sample)
            outside = np.mean((low < kind.within[0]) | (high > kind.within[1]))
            few = bca(sample[: options.bootstraps], draw)
            numbers = (share((low, high), kind.mean), outside, share(few, kind.mean),
                       share(ours(sample, kind.within), kind.mean), rate_bound(0, seeds))  # fmt: skip
            table.add_row(kind.name, kind.shape, str(seeds), *(f"{100 * each:.1f}" for each in numbers))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
