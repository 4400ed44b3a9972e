"""Hyperparameter slices: what the search tried and what came of it."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look
from reports.figures.figure import Figure
from reports.figures.grid import grid, title
from reports.results import Results

COLUMNS = ["key", "arm", "batch_size", "trial", "status", "value", "accuracy"]
HEIGHT = 110


def data(results: Results) -> pd.DataFrame:
    """Long: a row an ended search trial and searched numeric key; `accuracy` is NaN where it diverged."""
    search = results.search[results.search["status"].isin(["complete", "pruned", "diverged"])]
    accuracy = search["val/accuracy"] if "val/accuracy" in search else pd.Series(float("nan"), search.index)
    search = search.assign(accuracy=accuracy.mask(search["status"] == "diverged"))
    keys = dict.fromkeys(key for keys in results.searched.values() for key in keys)
    parts = [_slice(results, search, key) for key in keys if key in search]
    return pd.concat(parts) if parts else pd.DataFrame(columns=COLUMNS)


def _slice(results: Results, search: pd.DataFrame, key: str) -> pd.DataFrame:
    tunes = search["cell"].map(lambda cell: key in results.searched.get(cell, ())).astype(bool)
    value = pd.to_numeric(search[key], errors="coerce")  # a name, as the schedule's, has no place on an axis
    return search.assign(key=key, value=value)[tunes][COLUMNS].dropna(subset="value")


def chart(table: pd.DataFrame, results: Results) -> alt.ConcatChart:
    """Hyperparameters down, each on its own axis; batch sizes across."""
    sizes = results.batch_sizes
    panels = [_panel(table, results, key, size) for key in dict.fromkeys(table["key"]) for size in sizes]
    return grid(panels, columns=len(sizes))


def _panel(table: pd.DataFrame, results: Results, key: str, size: int) -> alt.LayerChart:
    row = table[table["key"] == key]
    base = alt.Chart(row[row["batch_size"] == size]).encode(
        x=_axis(row["value"].rename(key)),
        color=look.colour(results.arms),
        tooltip=["arm:N", "trial:Q", "status:N", alt.Tooltip("value:Q", title=key, format=".4~g"),
                 alt.Tooltip("accuracy:Q", format=".2%")],
    )  # fmt: skip
    first = size == results.batch_sizes[0]
    y = alt.Y(
        "accuracy:Q",
        title="validation acc." if first else None,
        scale=alt.Scale(domain=look.domain(table["accuracy"]), nice=False),
        axis=alt.Axis(format=look.PERCENT, tickCount=4, labels=first),
    )
    shape = look.shape(results.arms)
    ended = base.transform_filter("datum.status == 'complete'").mark_point(filled=True, size=45, opacity=0.85)
    pruned = base.transform_filter("datum.status == 'pruned'").mark_point(filled=False, size=45, opacity=0.85)
    lost = base.transform_filter("datum.status == 'diverged'").mark_point(
        shape=look.DIVERGED, size=36, strokeWidth=1.8, filled=False
    )
    layers = alt.layer(
        ended.encode(y=y, shape=shape), pruned.encode(y=y, shape=shape), lost.encode(y=alt.value(HEIGHT - 7))
    )
    width = look.column_width(len(results.batch_sizes))
    return layers.properties(width=width, height=HEIGHT, title=title(f"batch size {size}"))


def _axis(values: pd.Series[float]) -> alt.X:
    """One axis a hyperparameter, by which `values` are named, so that its panels compare across batch sizes."""
    low, high = float(values.min()), float(values.max())
    kind = "log" if look.spread_by_factors(values) else "linear"
    if low == high:
        low, high = low - abs(low) / 2 - 0.1 * (low == 0), high + abs(high) / 2 + 0.1 * (high == 0)
    scale = alt.Scale(type=kind, domain=[low, high], nice=False, padding=8)
    return alt.X("value:Q", title=str(values.name), scale=scale, axis=alt.Axis(format="~g", tickCount=4, grid=False))


def caption(_: Results) -> str:
    """How to read it."""
    return (
        "Every ended search trial: the value of one searched hyperparameter against the validation accuracy "
        "reached, a row a hyperparameter, a column a batch size. × at the foot: diverged. Hollow: pruned, at "
        "the accuracy of the epoch it stopped at. The other hyperparameters vary too: a slice is no curve."
    )


FIGURE = Figure(
    "slices", "Hyperparameter slices", caption, data, chart,
    "Nothing numeric was searched, or no search trial has ended yet.",
)  # fmt: skip
