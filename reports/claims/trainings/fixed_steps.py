"""Beyond the paper: does the gap vanish when large batches take as many steps? (Hoffer et al. 2017)"""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, below
from reports.claims.shared.contrasts import BONFERRONI, FINAL, GAIN, POINTS
from reports.claims.shared.evidence import caveats, drawable, last, seeds, summary
from reports.figures import against
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import simultaneous

EPOCHS, STEPS = "sgd", "sgd-steps"
NAMES = {EPOCHS: "as many epochs", STEPS: "as many steps"}
METRIC = "test/accuracy"
MARGIN = 1.0  # percentage points that are no gap


def gap(results: Results, arm: str) -> pd.DataFrame:
    """The smallest batch size's test accuracy minus each larger one's, in percentage points: seeds × batch sizes."""
    table, small = last(results, METRIC, arm), last(results, METRIC, EPOCHS)
    smallest = min(results.batch_sizes)
    if smallest not in small:
        raise Missing(f"no seed of {EPOCHS} is complete at batch size {smallest}")
    return 100 * table.rsub(small[smallest], axis=0)


def decide(results: Results) -> Judgement:
    largest = max(results.batch_sizes)
    tables = {arm: gap(results, arm) for arm in NAMES}
    for arm, table in tables.items():
        if largest not in table or table[largest].dropna().empty:
            raise Missing(f"no seed of {arm} is complete at batch sizes {min(results.batch_sizes)} and {largest}")
    by_epochs, by_steps = simultaneous([table[largest].dropna() for table in tables.values()], within=GAIN)
    parts = (
        Part(f"gap at {largest}, {NAMES[EPOCHS]}", by_epochs, POINTS, above(by_epochs)),
        Part(f"gap at {largest}, {NAMES[STEPS]}", by_steps, POINTS, below(by_steps, MARGIN)),
    )
    gaps = [ranged(each.mean, each.low, each.high, POINTS) for each in (by_epochs, by_steps)]
    if above(by_epochs) != "confirmed":
        sentence = (
            f"With {NAMES[EPOCHS]} there is no gap beyond doubt at batch size {largest} ({gaps[0]}), so none to close."
        )
        return Judgement("undecided", by_steps, POINTS, sentence + caveats(results, list(NAMES)), parts)
    status = below(by_steps, MARGIN)
    verb = {"confirmed": "vanishes", "refuted": "stays", "undecided": "may vanish or stay"}[status]
    sentence = (
        f"At batch size {largest} the gap to {min(results.batch_sizes)} is {gaps[0]} with {NAMES[EPOCHS]}; with "
        f"{NAMES[STEPS]} it {verb}: {gaps[1]}, over {seeds(by_steps.n)}.{caveats(results, list(NAMES))}"
    )
    return Judgement(status, by_steps, POINTS, sentence, parts)


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.against`: a line a budget."""
    return pd.concat(summary(name, gap(results, arm), GAIN) for arm, name in NAMES.items())


CLAIM = Claim(
    name="fixed-steps",
    title="With as many steps, the gap vanishes",
    says="Beyond the paper: the gap of large batches comes from taking fewer steps, and vanishes when they take as "
    "many (Hoffer et al. 2017; the paper's method 3).",
    statistic=f"Test accuracy {FINAL}: that of the smallest batch size minus that of the largest, paired by seed, "
    f"once with as many epochs and once with as many steps. {BONFERRONI}",
    confirms="There is a gap with as many epochs (its interval lies above 0), and with as many steps its interval "
    f"lies below {MARGIN:g} percentage point.",
    refutes=f"There is such a gap, and with as many steps its interval lies above {MARGIN:g} percentage point.",
    decide=decide,
    figure=Figure(
        "fixed-steps",
        "The gap under two budgets",
        lambda _: (
            "Test accuracy of the smallest batch size minus each batch size's own, with 95 % intervals over seeds: "
            "with as many epochs, and with as many steps (epochs in proportion to the batch size)."
        ),
        data,
        lambda table, _: against.chart(table, "batch size (logarithmic)", "gap (percentage points)", rule=0.0),
        "No seed is complete in two cells to compare yet.",
    ),
    note="As many steps of a larger batch are as many times more images: equal steps are not equal cost.",
)
