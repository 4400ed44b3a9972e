"""Curvature estimates against the exact radius, layer by layer: what the probe `curvature` measured."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import pandas as pd

from reports.figures import look
from reports.figures.figure import Figure
from reports.figures.grid import grid, title
from reports.results import Results

PREFIX = "probe/curvature/"
HEADS = ("classifier", "fc", "head")
MEASURED = (PREFIX + "rank/", PREFIX + "ratio/")  # the probe's own options stand beside them
COLUMNS = ["arm", "batch_size", "seed", "kind", "estimate", "layer", "value"]
ESTIMATES = {"hutchinson": "Hutchinson", "gnb": "Gauss–Newton–Bartlett", "w-over-g": "|w/g| (17)"}
KINDS = {"rank": "rank correlation with the exact radius", "ratio": "median / exact median"}
HEIGHT = 190


def data(results: Results) -> pd.DataFrame:
    """Long: a row a confirm trial, kind (rank, ratio), estimate and layer, after the last epoch that measured."""
    trials = results.confirmed
    measured = [column for column in map(str, trials) if column.startswith(MEASURED)]
    if not measured:
        return pd.DataFrame(columns=COLUMNS)
    long = trials.melt(["arm", "batch_size", "seed"], measured, "key").dropna(subset="value")
    parts = long["key"].str.removeprefix(PREFIX).str.split("/", n=2, expand=True)
    long = long.assign(kind=parts[0], estimate=parts[1].replace(ESTIMATES), layer=parts[2].str.removesuffix(".weight"))
    order = long["layer"].map(_in_order)
    return long.assign(order=order).sort_values(["order", "estimate", "seed"])[COLUMNS].reset_index(drop=True)


def _in_order(layer: str) -> tuple[Any, ...]:
    """Numbers in a name count as numbers, `features.10` comes after `features.3`; a net's head comes last."""
    return layer.startswith(HEADS), *(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", layer)
    )


def chart(table: pd.DataFrame, results: Results) -> alt.ConcatChart:
    """A cell a row; rank correlation and ratio of medians side by side."""
    cells = [(arm, size) for arm in results.arms for size in results.batch_sizes]
    have = set(zip(table["arm"], table["batch_size"], strict=True))
    return grid([_panel(table, cell, kind) for cell in cells if cell in have for kind in KINDS], columns=len(KINDS))


def _panel(table: pd.DataFrame, cell: tuple[str, int], kind: str) -> alt.LayerChart:
    arm, size = cell
    here = table[(table["arm"] == arm) & (table["batch_size"] == size) & (table["kind"] == kind)]
    names = list(ESTIMATES.values())
    base = alt.Chart(here).encode(
        x=alt.X("layer:N", sort=list(dict.fromkeys(table["layer"])), title=None, axis=alt.Axis(labelAngle=-40)),
        color=alt.Color("estimate:N", scale=alt.Scale(domain=names, range=look.COLOURS[: len(names)])),
        shape=alt.Shape("estimate:N", scale=alt.Scale(domain=names, range=look.SHAPES[: len(names)])),
    )
    scale = alt.Scale(domain=[-1, 1]) if kind == "rank" else alt.Scale(type="log")
    y = alt.Y("value:Q", title=KINDS[kind], scale=scale, axis=alt.Axis(format="~g", tickCount=5))
    agreement = alt.Chart(pd.DataFrame({"value": [1.0]})).mark_rule(strokeDash=[4, 3], color=look.INK).encode(y=y)
    tooltip = ["estimate:N", "layer:N", "seed:N", alt.Tooltip("value:Q", format=".3~g")]
    seeds = base.mark_point(filled=True, size=40, opacity=0.7).encode(y=y, tooltip=tooltip)
    median = base.mark_line(strokeWidth=1.6).encode(y=alt.Y("median(value):Q"))
    layers = alt.layer(agreement, median, seeds)
    return layers.properties(width=look.column_width(len(KINDS)), height=HEIGHT, title=title(f"{arm}/{size}"))


def caption(_: Results) -> str:
    """How to read it."""
    return (
        "Estimates of the radius of curvature R = (1 + g²)^{3/2} / |h| against R from the exact Hessian diagonal, at "
        "the first step of the last epoch, over the entries with g ≠ 0 of each layer's weights. Left: Spearman's rank "
        "correlation. Right: the ratio of medians. A point a seed, a line through their medians; dashed: agreement."
    )


FIGURE = Figure(
    "curvature", "Curvature estimates", caption, data, chart, absent=None,
)  # fmt: skip
