"""The shape of a quantity against batch size beside two laws for it: a panel a layer, both axes logarithmic."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look, seeds
from reports.figures.grid import grid, title

COLUMNS = ["layer", "law", "batch_size", "mean", "low", "high", "held_out", "noise_scale", "seed"]
MEASURED = "measured"
HEIGHT = 230
COLOURS, DASHES = (look.COLOURS[0], look.COLOURS[1], look.COLOURS[2]), ([1, 0], [7, 4], [1, 0])


def chart(table: pd.DataFrame, quantity: str, columns: int = 2) -> alt.ConcatChart:
    """`table` has COLUMNS, its rows as in `reports.figures.seeds`.

    Its laws are the measured one, the paper's and the corrected one, in this order.
    """
    panels = list(dict.fromkeys(table["layer"]))
    columns = min(columns, len(panels))
    drawn = [
        _panel(table, layer, quantity if number % columns == 0 else None, look.column_width(max(columns, 2)))
        for number, layer in enumerate(panels)
    ]
    return grid(drawn, columns=columns)


def _panel(table: pd.DataFrame, layer: str, quantity: str | None, width: float) -> alt.LayerChart:
    here = table[table["layer"] == layer]
    laws = list(dict.fromkeys(table["law"]))
    sizes = sorted(set(here["batch_size"]))
    x = alt.X(
        "batch_size:Q",
        title="batch size n",
        scale=alt.Scale(type="log", base=2, nice=False, domain=[sizes[0] / 1.4, sizes[-1] * 1.4]),
        axis=alt.Axis(values=sizes, format="d", grid=False, labelOverlap="greedy"),
    )
    y = alt.Y("mean:Q", title=quantity, scale=alt.Scale(type="log", nice=False, padding=10), axis=look.LOG_AXIS)
    base = alt.Chart(here).encode(x=x)
    colour = alt.Color("law:N", scale=alt.Scale(domain=laws, range=list(COLOURS[: len(laws)])))
    dash = alt.StrokeDash("law:N", scale=alt.Scale(domain=laws, range=list(DASHES[: len(laws)])))
    tooltip = ["law:N", "batch_size:Q", *(alt.Tooltip(f"{each}:Q", format=".3~g") for each in ("mean", "low", "high"))]
    measured = base.transform_filter(alt.datum.law == MEASURED).transform_filter(seeds.MEANS)
    layers = [
        base.transform_filter(alt.datum.law != MEASURED)
        .mark_line(strokeWidth=2)
        .encode(y=y, color=colour, strokeDash=dash),
        seeds.points(base, y=y, color=colour),
        measured.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=1.6)
        .encode(y=alt.Y("low:Q", title=quantity), y2="high:Q", color=colour),
        measured.transform_filter("datum.held_out")
        .mark_point(filled=True, size=46, opacity=1)
        .encode(y=y, color=colour, tooltip=tooltip),
        measured.transform_filter("!datum.held_out")
        .mark_point(size=52, strokeWidth=1.8, fill="white")
        .encode(y=y, color=colour, tooltip=tooltip),
    ]
    return alt.layer(*_noise_scale(here, x, sizes), *layers).properties(width=width, height=HEIGHT, title=title(layer))


def _noise_scale(here: pd.DataFrame, x: alt.X, sizes: list[int]) -> list[alt.Chart]:
    """A rule at B with its name, where it lies among the batch sizes."""
    at = here["noise_scale"].dropna()
    if at.empty or not sizes[0] / 1.4 < float(at.iloc[0]) < sizes[-1] * 1.4:
        return []
    one = alt.Chart(pd.DataFrame({"batch_size": [float(at.iloc[0])], "text": ["noise scale B"]})).encode(x=x)
    left = float(at.iloc[0]) > (sizes[0] * sizes[-1]) ** 0.5
    return [
        one.mark_rule(strokeDash=[2, 3], strokeWidth=1.4, color="#888888"),
        one.mark_text(align="right" if left else "left", dx=-5 if left else 5, fontSize=11, color=look.NOTE)
        .encode(text="text:N", y=alt.value(8)),
    ]  # fmt: skip
