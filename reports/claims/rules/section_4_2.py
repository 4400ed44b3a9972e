"""Section 4.2's text: MCLR over batch sizes, beside LARS."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, all_of, below
from reports.claims.shared.contrasts import BONFERRONI, FINAL, GAIN, POINTS
from reports.claims.shared.evidence import caveats, drawable, last, scaled, seeds, sizes_of, summary
from reports.figures import against
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import FRACTION, interval
from study.statistics import slopes

MCLR, LARS = "mclr", "lars"
METRIC = "train/accuracy"
LIMIT = 8192  # batch size below which MCLR is to work
MARGIN = 2.0  # percentage points that MCLR may be behind LARS and still work


def gap(results: Results) -> pd.DataFrame:
    """LARS minus MCLR in percentage points: seeds × batch sizes that both have."""
    lars, mclr = last(results, METRIC, LARS), last(results, METRIC, MCLR)
    common = [size for size in sizes_of(lars) if size in mclr]
    return 100 * (lars[common] - mclr[common]).dropna(how="all").dropna(axis="columns", how="all")


def decide(results: Results) -> Judgement:
    table = gap(results)
    limit = scaled(results, LIMIT)
    small = [size for size in sizes_of(table) if size < limit]
    large = [size for size in sizes_of(table) if size >= limit]
    if not small or len([*small[-1:], *large]) < 2:
        raise Missing(f"batch sizes on both sides of {limit:.0f} ({LIMIT} of 50,000 images) are needed in both arms")
    falls = slopes(table[[small[-1], *large]], [small[-1], *large])
    together = 1 - 0.05 / (len(small) + 1)
    behind = [interval(table[size].dropna(), together, GAIN) for size in small]
    faster = interval(falls, together)
    works = [below(each, MARGIN) for each in behind]
    statuses = [*works, above(faster)]
    status = all_of(statuses)
    parts = [
        Part(f"LARS − MCLR at {size}", each, POINTS, verdict)
        for size, each, verdict in zip(small, behind, works, strict=True)
    ]
    parts.append(Part(f"growth of LARS − MCLR from {small[-1]} on", faster, f"{POINTS} per doubling", above(faster)))
    parts += [Part(f"LARS − MCLR at {size}", interval(table[size].dropna(), within=GAIN), POINTS) for size in large]
    worst = max(behind, key=lambda each: each.mean)
    yes = {"confirmed": "works", "refuted": "does not work", "undecided": "may or may not work"}[all_of(works)]
    then = {"confirmed": "falls faster than LARS", "refuted": "does not fall faster than LARS",
            "undecided": "may or may not fall faster than LARS"}[above(faster)]  # fmt: skip
    sentence = (
        f"MCLR {yes} below batch size {limit:.0f}, at worst {ranged(worst.mean, worst.low, worst.high, POINTS)} "
        f"behind LARS in training accuracy; from {small[-1]} on it {then}: by "
        f"{ranged(faster.mean, faster.low, faster.high, POINTS)} per doubling, over "
        f"{seeds(faster.n)}.{caveats(results, (MCLR, LARS))}"
    )
    return Judgement(status, faster, f"{POINTS} per doubling", sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.against`: a line an arm."""
    return pd.concat(summary(arm, last(results, METRIC, arm), FRACTION) for arm in (LARS, MCLR))


CLAIM = Claim(
    name="section-4.2",
    title="MCLR works below batch size 8192, then falls faster than LARS",
    says="MCLR works well for batch sizes below 8192; for large ones its performance falls faster than that of LARS "
    "(section 4.2).",
    statistic=f"Training accuracy {FINAL}: LARS minus MCLR, paired by seed, at each batch size below 8192, and per "
    f"seed the least-squares slope of that difference against log2 n from the largest of them on. {BONFERRONI} In a "
    "smaller training set 8192 stands for the same share of its images.",
    confirms=f"Below 8192 every interval lies below {MARGIN:g} percentage points, and the slope's lies above 0.",
    refutes=f"Below 8192 some interval lies above {MARGIN:g} percentage points, or the slope's lies below 0.",
    decide=decide,
    figure=Figure(
        "section-4.2",
        "MCLR and LARS over batch sizes",
        lambda _: "Training accuracy after the last epoch, mean over complete seeds with 95 % intervals.",
        data,
        lambda table, _: against.chart(table, "batch size (logarithmic)", "training accuracy", form="~%"),
        "No trial of both arms is complete yet.",
    ),
)
