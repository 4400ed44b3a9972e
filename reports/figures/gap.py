"""The gap to the baseline cell against batch size."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import by_batch_size, look, seeds
from reports.figures.figure import Figure
from reports.results import Results
from study.statistics import accuracies


def data(results: Results) -> pd.DataFrame:
    """A row a cell that shares a complete seed with the baseline cell, and a row a seed that it shares.

    None where that is the baseline alone.
    """
    test = accuracies(results.trials, results.cells)
    by_seed = test.rsub(test[results.baseline], axis=0).drop(columns=results.baseline)
    table = by_batch_size.cells(results.gaps, by_seed, "gap_batch", "gap_batch_low", "gap_batch_high")
    return table if seeds.of_means(table)["mean"].notna().sum() > 1 else table.iloc[:0]


def chart(table: pd.DataFrame, results: Results) -> alt.LayerChart:
    """A mark and an interval bar a cell, over the line of no gap."""
    axis = alt.Axis(title=f"gap to {results.baseline} (percentage points)", labelExpr="format(100 * datum.value, '~r')")
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color="#888888", strokeDash=[4, 3])
    drawn = by_batch_size.chart(table, results.arms, results.batch_sizes, axis)
    return (zero.encode(y=alt.Y("zero:Q", axis=axis)) + drawn).properties(
        width=look.WIDTH - 60, height=by_batch_size.HEIGHT
    )


def caption(results: Results) -> str:
    """How to read it."""
    return (
        f"The batch-size gap: test accuracy of {results.baseline} minus the cell's own, seed by seed, with 95 % "
        "intervals from three shared seeds on. Small dots: the seeds. Above the dashed line a cell is worse than the "
        "baseline cell."
    )


FIGURE = Figure(
    "gap", "The gap to the baseline", caption, data, chart, "No seed is complete in two cells to compare yet."
)
