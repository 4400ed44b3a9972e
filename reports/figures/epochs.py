"""The shape of curves over epochs: thin lines for seeds, a bold one for their mean, the seeds' range shaded."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from reports.figures import look
from reports.figures.grid import grid, title

COLUMNS = ["panel", "line", "seed", "epoch", "value"]
HEIGHT = 220


def chart(
    table: pd.DataFrame,
    quantity: str,
    *,
    form: str = "~f",
    log: bool = False,
    until: float | None = None,
    shade: bool = True,
) -> alt.ConcatChart:
    """`table` has COLUMNS, a row a seed and epoch: `line` colours within a panel.

    `until` marks the end of the epochs that a claim is about, `shade` the seeds' range. On a logarithmic axis the mean
    is the geometric one.
    """
    panels, lines = list(dict.fromkeys(table["panel"])), list(dict.fromkeys(table["line"]))
    columns = min(2, len(panels))
    ends = table["value"].dropna()
    domain = look.domain(ends) if not log else [float(ends[ends > 0].min()) / 1.15, float(ends.max()) * 1.15]
    drawn = []
    for number, panel in enumerate(panels):
        axis: dict[str, Any] = {
            "title": quantity if number % columns == 0 else None,
            "scale": alt.Scale(domain=domain, nice=False, **({"type": "log"} if log else {})),
            "axis": look.LOG_AXIS if log else alt.Axis(format=form, tickCount=6),
        }
        here = table[table["panel"] == panel]
        layers = _layers(here, _means(here, log), axis, lines, shade=shade)
        if until is not None:
            rule = alt.Chart(pd.DataFrame({"epoch": [until]}))
            layers.append(rule.mark_rule(strokeDash=[2, 3], strokeWidth=1.4, color="#888888").encode(x="epoch:Q"))
        width = look.column_width(columns) if columns > 1 else look.WIDTH - 60
        drawn.append(alt.layer(*layers).properties(width=width, height=HEIGHT, title=title(panel)))
    return grid(drawn, columns=columns)


def _means(here: pd.DataFrame, log: bool) -> pd.DataFrame:
    """Mean, least and largest value over seeds: a row a line and epoch."""
    groups = here.assign(value=np.log(here["value"]) if log else here["value"]).groupby(["line", "epoch"])["value"]
    table = groups.agg(mean="mean", low="min", high="max")
    return pd.DataFrame((np.exp(table) if log else table).reset_index())


def _layers(
    here: pd.DataFrame, means: pd.DataFrame, axis: dict[str, Any], lines: list[str], *, shade: bool
) -> list[alt.Chart]:
    ordinal = len(lines) > 3
    colours = look.ramp(len(lines)) if ordinal else [look.COLOURS[at % len(look.COLOURS)] for at in range(len(lines))]
    epochs = max(2, int(here["epoch"].max()))
    x = alt.X(
        "epoch:Q",
        title="epoch",
        scale=alt.Scale(domain=[1, epochs], nice=False),
        axis=alt.Axis(format="d", grid=False, values=list(range(1, epochs + 1, 1 + epochs // 8))),
    )
    colour = alt.Color(
        "line:N",
        scale=alt.Scale(domain=lines, range=colours),
        sort=lines,
        legend=look.SOLID if len(lines) > 1 else None,
    )
    seeds, mean = (alt.Chart(table).encode(x=x, color=colour) for table in (here, means))
    layers = []
    if here["seed"].nunique() > 1:
        if shade:
            layers.append(mean.mark_area(opacity=0.18, clip=True).encode(y=alt.Y("low:Q", **axis), y2="high:Q"))
        thin = seeds.mark_line(strokeWidth=0.8, opacity=0.5, clip=True)
        layers.append(thin.encode(y=alt.Y("value:Q", **axis), detail=["seed:N", "line:N"]))
    return [*layers, mean.mark_line(strokeWidth=2.2, clip=True).encode(y=alt.Y("mean:Q", **axis))]
