"""What each cell wins or loses against the baseline cell, by batch size. Points won are positive."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import by_batch_size, seeds
from reports.figures.figure import Figure
from reports.results import Results
from study.statistics import accuracies


def data(results: Results) -> pd.DataFrame:
    """A row a cell that shares a complete seed with the baseline cell, and a row a seed that it shares.

    None where that is the baseline alone.
    """
    test = accuracies(results.trials, results.cells)
    by_seed = test.sub(test[results.baseline], axis=0).drop(columns=results.baseline)
    lost = results.gaps
    won = lost.assign(mean=0 - lost["gap_batch"], low=0 - lost["gap_batch_high"], high=0 - lost["gap_batch_low"])
    table = by_batch_size.cells(won, by_seed, "mean", "low", "high")
    return table if seeds.of_means(table)["mean"].notna().sum() > 1 else table.iloc[:0]


def chart(table: pd.DataFrame, results: Results) -> alt.LayerChart:
    """A mark and an interval bar a cell, over the line of no gap."""
    title = f"accuracy above {results.baseline}'s"
    return by_batch_size.chart(table, results.arms, results.batch_sizes, title, "percentage points", zero=True)


def caption(results: Results) -> str:
    """How to read it."""
    return (
        f"The batch-size gap: the cell's test accuracy minus that of {results.baseline}, seed by seed, with 95 % "
        "intervals from three shared seeds on. Small dots: the seeds. Below the dashed line a cell is worse than the "
        "baseline cell: these are the points that it loses."
    )


FIGURE = Figure(
    "gap", "The gap to the baseline", caption, data, chart, "No seed is complete in two cells to compare yet."
)
