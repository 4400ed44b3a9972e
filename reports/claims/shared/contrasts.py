"""The shape of claims that compare arms: differences after the last epoch, seed by seed, in percentage points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from reports.claims.shared.claim import Part, Status, single
from reports.claims.shared.evidence import curves, last, shared
from reports.figures import effects, epochs
from reports.figures.seeds import below
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import Bounds, Estimate

POINTS = "percentage points"
FINAL = "after the last epoch, never the best one"
T = "Student's t intervals over seeds, on the logit scale of what is possible"
HOLM = f"95 % {T}, all tests together (Holm)."
BONFERRONI = f"95 % {T}, all together (Bonferroni)."
PERCENT: Bounds = (0.0, 100.0)  # of an accuracy in %
GAIN: Bounds = (-100.0, 100.0)  # of a difference of accuracies in percentage points
ACCURACY = {"train/accuracy": "training accuracy", "test/accuracy": "test accuracy"}


def hundredfold(estimate: Estimate) -> Estimate:
    """Fractions as percentages."""
    return estimate.through(lambda fraction: 100 * fraction)


def gains(
    results: Results, arm: str, over: str, metric: str, sizes: Sequence[int] | None = None
) -> dict[int, pd.Series]:
    """`arm`'s metric minus `over`'s by batch size, in percentage points, one a seed."""
    differences = shared(last(results, metric, arm), last(results, metric, over), sizes)
    return {size: 100 * difference for size, difference in differences.items()}


def parts(
    samples: Mapping[str, pd.Series], estimates: Sequence[Estimate], statuses: Sequence[Status]
) -> tuple[Part, ...]:
    """A line a comparison."""
    pairs = zip(samples, estimates, statuses, strict=True)
    return tuple(Part(label, estimate, POINTS, status) for label, estimate, status in pairs)


def stated(label: str, estimate: Estimate) -> str:
    """`sgd-discard at 2000: +1.20 [+0.80, +1.60]`."""
    return f"{label}: {ranged(estimate.mean, estimate.low, estimate.high)}"


def rows(samples: Mapping[str, pd.Series], estimates: Sequence[Estimate], group: str = "") -> pd.DataFrame:
    """With the columns of `reports.figures.effects`: the estimates, and below them the seeds of `samples`."""
    means = [
        (group, label, each.mean, each.low, each.high, each.n) for label, each in zip(samples, estimates, strict=True)
    ]
    values = [
        {"group": group, "label": label, "mean": value, "seed": seed}
        for label, sample in samples.items()
        for seed, value in sample.items()
    ]
    return below(pd.DataFrame(means, columns=effects.COLUMNS[:-1]), values)


def over_epochs(results: Results, metric: str, arms: Sequence[str], sizes: Sequence[int] | None = None) -> pd.DataFrame:
    """With the columns of `reports.figures.epochs`: a panel a batch size, a line an arm."""
    table = curves(results, metric, arms)
    if sizes is not None:
        table = table[table["batch_size"].isin(sizes)]
    table = table.assign(panel="batch size " + table["batch_size"].astype(str), line=table["arm"])
    order = {arm: number for number, arm in enumerate(arms)}
    table = table.sort_values(
        ["batch_size", "line", "seed", "epoch"], key=lambda c: c.map(order) if c.name == "line" else c
    )
    return table[epochs.COLUMNS].reset_index(drop=True)


def deviations(results: Results, metric: str, arms: Sequence[str], size: int) -> list[Part]:
    """The standard deviation over seeds after the last epoch, an arm a line; it decides nothing."""
    parts_ = []
    for arm in arms:
        values = 100 * last(results, metric, arm)[size].dropna()
        deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        parts_.append(Part(f"{arm} at {size}: standard deviation", single(deviation, len(values)), POINTS))
    return parts_
