"""Test accuracy against batch size."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import by_batch_size
from reports.figures.figure import Figure
from reports.results import Results
from study.statistics import accuracies

MANY = " Arms are set slightly apart so that bars do not overlap; click an arm in the legend to single it out."
ZOOM = " Shift and the wheel zoom, dragging moves, a double click goes back."


def data(results: Results) -> pd.DataFrame:
    """A row a cell that has ended in some seed, and a row a complete seed."""
    by_seed = accuracies(results.trials, results.cells)
    return by_batch_size.cells(results.gaps, by_seed, "test_accuracy", "test_low", "test_high")


def chart(table: pd.DataFrame, results: Results) -> alt.LayerChart:
    """A mark and an interval bar a cell."""
    return by_batch_size.chart(table, results.arms, results.batch_sizes, "test accuracy", "%")


def caption(results: Results) -> str:
    """How to read it."""
    return (
        "Test accuracy by batch size and arm: mean over the complete confirm seeds, with 95 % intervals from three "
        "seeds on. Small dots: the seeds. × at the foot: every confirm seed diverged."
        + (MANY if len(results.arms) > 1 else "")
        + ZOOM
    )


FIGURE = Figure("accuracy", "Accuracy against batch size", caption, data, chart, "No confirm trial has ended yet.")
