"""Training curves of the confirm trials."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look
from reports.figures.figure import Figure
from reports.figures.grid import grid, title
from reports.results import Results

NAMES = {"val/accuracy": "validation accuracy", "train/accuracy": "training accuracy"}
HEIGHT = 96


def data(results: Results) -> pd.DataFrame:
    """Long: arm, batch_size, seed, status, epoch, value; a diverged trial ends where it diverged."""
    trials = results.confirmed[["run_id", "arm", "batch_size", "seed", "status"]]
    joined = trials.merge(results.curves.dropna(), on="run_id").drop(columns="run_id")
    return joined.sort_values(["arm", "batch_size", "seed", "epoch"])


def chart(table: pd.DataFrame, results: Results) -> alt.ConcatChart:
    """Arms down, batch sizes across, on common scales."""
    panels = [
        _panel(table, results, arm, size, first=size == results.batch_sizes[0], last=arm == results.arms[-1])
        for arm in results.arms
        for size in results.batch_sizes
    ]
    return grid(panels, columns=len(results.batch_sizes))


def _panel(table: pd.DataFrame, results: Results, arm: str, size: int, *, first: bool, last: bool) -> alt.LayerChart:
    here = table[(table["arm"] == arm) & (table["batch_size"] == size)]
    epochs = int(table["epoch"].max())
    base = alt.Chart(here).encode(
        x=alt.X(
            "epoch:Q",
            title="epoch" if last else None,
            scale=alt.Scale(domain=[1, max(2, epochs)], nice=False),
            axis=alt.Axis(values=list(range(1, epochs + 1, 1 + epochs // 6)), format="d", grid=False, labels=last),
        ),
        color=look.colour(results.arms, legend=None),
    )
    y = alt.Y(
        "value:Q",
        title=NAMES[results.curve_metric].split()[0] + " acc." if first else None,
        scale=alt.Scale(domain=look.domain(table["value"]), nice=False),
        axis=alt.Axis(format=look.PERCENT, tickCount=4, labels=first),
    )
    thin = base.mark_line(strokeWidth=0.8, opacity=0.55).encode(y=y, detail="seed:N", tooltip=["seed:N", "status:N"])
    bold = base.transform_filter("datum.status == 'complete'").mark_line(strokeWidth=2.2)
    end = (
        base.transform_filter("datum.status == 'diverged'")
        .transform_joinaggregate(last="max(epoch)", groupby=["seed"])
        .transform_filter("datum.epoch == datum.last")
        .mark_point(shape=look.DIVERGED, size=40, strokeWidth=1.8, filled=False)
    )
    layers = alt.layer(thin, bold.encode(y=alt.Y("mean(value):Q")), end.encode(y=y))
    width = look.column_width(len(results.batch_sizes))
    cell = f"{arm}/{size}"
    label = cell + ("" if len(here) else ": no confirm trial" if cell in results.cells else ": no such cell")
    return layers.properties(width=width, height=HEIGHT, title=title(label))


def caption(results: Results) -> str:
    """How to read it."""
    return (
        f"{NAMES[results.curve_metric].capitalize()} of the confirm trials after each epoch, an arm a row, "
        "a batch size a column. Thin: one seed. Bold: the mean over complete seeds. "
        "×: the last epoch before a divergence."
    )


FIGURE = Figure("curves", "Training curves", caption, data, chart, "No confirm trial has finished an epoch yet.")
