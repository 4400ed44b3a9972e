"""The shape of many curves that fall on one: a point a layer and batch size, coloured by reading, log-log."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from reports.figures import look

COLUMNS = ["reading", "layer", "batch_size", "ratio", "height", "curve"]
RECORD = "of record"
HEIGHT = 380


def chart(table: pd.DataFrame) -> alt.LayerChart:
    """`table` has COLUMNS: `ratio` n/B, `height` E|g|/|μ|, `curve` √(1 + B/n) at this ratio."""
    readings = list(dict.fromkeys(table["reading"]))
    colours = [look.COLOURS[number % len(look.COLOURS)] for number in range(len(readings))]
    shapes = [look.SHAPES[number % len(look.SHAPES)] for number in range(len(readings))]
    low, high = float(table["ratio"].min()) / 1.5, float(table["ratio"].max()) * 1.5
    across = alt.X(
        "ratio:Q", title="n / B  (batch size in noise scales)", axis=look.LOG_AXIS,
        scale=alt.Scale(type="log", nice=False, domain=[low, high]),
    )  # fmt: skip
    top = float(max(table["height"].max(), np.sqrt(1 + 1 / low))) * 1.1
    up = alt.Scale(type="log", nice=False, domain=[0.7, top])
    height = alt.Y("height:Q", title="E|g| / |μ|", scale=up, axis=look.LOG_AXIS)
    at = np.geomspace(low, high, 80)
    line = alt.Chart(pd.DataFrame({"ratio": at, "height": np.sqrt(1 + 1 / at)}))
    ends = pd.DataFrame({"ratio": [low, high, low, 1.0], "height": [1.0, 1.0, low**-0.5, 1.0], "end": [1, 1, 2, 2]})
    return alt.layer(
        alt.Chart(ends)
        .mark_line(strokeDash=[5, 4], strokeWidth=1.2, color="#888888")
        .encode(across, height, detail="end:N"),
        line.mark_line(strokeWidth=1.6, color=look.NOTE).encode(across, height),
        alt.Chart(table)
        .mark_point(filled=True, size=34, opacity=0.75)
        .encode(
            across, height,
            color=alt.Color("reading:N", scale=alt.Scale(domain=readings, range=colours)),
            shape=alt.Shape("reading:N", scale=alt.Scale(domain=readings, range=shapes)),
            tooltip=["reading:N", "layer:N", "batch_size:Q",
                     *(alt.Tooltip(f"{each}:Q", format=".3~g") for each in ("ratio", "height", "curve"))],
        ),
    ).properties(width=look.WIDTH - 60, height=HEIGHT)  # fmt: skip
