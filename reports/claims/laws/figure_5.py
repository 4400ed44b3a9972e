"""Figure 5: the search space, the parameter strides summed over training."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, all_of, below
from reports.claims.shared.evidence import caveats, curves, drawable, home, seeds, sizes_of
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.numerics.laws import exponents
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import POSITIVE, interval, simultaneous

STEPS, EPOCHS = "probe/stride/sum/all", "probe/stride/mean/all"


def area(results: Results, key: str) -> pd.DataFrame:
    """The curve of `key` summed over epochs: seeds × batch sizes."""
    table = curves(results, key, [home(results)])
    return table.groupby(["seed", "batch_size"])["value"].sum().unstack()


def decide(results: Results) -> Judgement:
    arm = home(results)
    spaces = {"every step": area(results, STEPS), "area under the curve by epoch": area(results, EPOCHS)}
    sizes = sizes_of(spaces["every step"])
    if len(sizes) < 2:
        raise Missing(f"{arm} is complete at batch size {sizes[0]} only")
    steps, area_ = simultaneous([exponents(space, sizes) for space in spaces.values()])
    parts = [Part(label, each, "slope", below(each)) for label, each in zip(spaces, (steps, area_), strict=True)]
    status = all_of([below(steps), below(area_)])
    verb = {
        "confirmed": "shrinks",
        "refuted": "does not shrink in both readings",
        "undecided": "may or may not shrink",
    }[status]
    sentence = (
        f"{arm}'s search space {verb} as the batch size grows from {sizes[0]} to {sizes[-1]}: summed over every step "
        f"it goes as n to the power {ranged(steps.mean, steps.low, steps.high)}, and as the area under the curve by "
        f"epoch to the power {ranged(area_.mean, area_.low, area_.high)}, over "
        f"{seeds(steps.n)}.{caveats(results, [arm])}"
    )
    totals = [
        Part(f"Σ E|Δw| at {size}", interval(spaces["every step"][size].dropna(), within=POSITIVE), "weight")
        for size in sizes
    ]
    return Judgement(status, steps, "slope", sentence, (*parts, *totals))


def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.epochs`: the stride, a line a batch size."""
    table = curves(results, EPOCHS, [home(results)]).sort_values(["batch_size", "seed", "epoch"])
    table = table.assign(panel="", line="n = " + table["batch_size"].astype(str))
    return pd.DataFrame(table[epochs.COLUMNS])


CLAIM = Claim(
    name="figure-5",
    title="Large batches search a smaller space",
    says="The area under the curve of the parameter stride E|Δw| over epochs, the total search space, is big for "
    "small batches and small for large ones (section 2.2, figure 5).",
    statistic="Per seed the least-squares slope of log(search space) against log n, for both readings of the area: "
    "E|Δw| summed over every step, and the epochs' means summed over epochs. 95 % Student's t intervals, both "
    "together (Bonferroni).",
    confirms="Both intervals lie below 0.",
    refutes="One of them lies above 0.",
    decide=decide,
    figure=Figure(
        "figure-5",
        "Parameter stride by epoch",
        lambda _: (
            "Mean parameter stride E|Δw| of the epoch's steps over all weights, a line a batch size. Thin: a seed; "
            "bold: geometric mean."
        ),
        drawable(data),
        lambda table, _: epochs.chart(table, "E|Δw|  (weight)", log=True, shade=False),
        "No trial that measured strides is complete yet.",
    ),
    note="Summed over steps the space shrinks for two reasons: the strides, and that an epoch has N/n steps. With "
    "momentum the stride is the step taken, not lr·g.",
)
