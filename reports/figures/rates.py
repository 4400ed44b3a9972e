"""Which rates diverge at which batch size: γ (SGD: lr) × batch size, arm by arm."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look
from reports.figures.figure import Figure
from reports.figures.grid import grid, title
from reports.results import Results

COLUMNS = ["arm", "batch_size", "trial", "rate", "status"]
RATES = ("optimizer/gamma", "optimizer/lr")
HEIGHT, COLUMNS_OF_PANELS = 150, 3


def data(results: Results) -> pd.DataFrame:
    """A row an ended search trial whose rate was searched: arm, batch_size, trial, rate, status."""
    search = results.search[results.search["status"].isin(["complete", "pruned", "diverged"])]
    parts = [search.assign(rate=pd.to_numeric(search[key], errors="coerce"))[_searches(results, search, key)]
             for key in RATES if key in search]  # fmt: skip
    return pd.concat(parts)[COLUMNS].dropna(subset="rate") if parts else pd.DataFrame(columns=COLUMNS)


def _searches(results: Results, search: pd.DataFrame, key: str) -> pd.Series[bool]:
    return search["cell"].map(lambda cell: key in results.searched.get(cell, ())).astype(bool)


def chart(table: pd.DataFrame, results: Results) -> alt.ConcatChart:
    """A panel an arm, each on its own axis of rates."""
    arms = [arm for arm in results.arms if arm in set(table["arm"])]
    return grid([_panel(table[table["arm"] == arm], arm, results) for arm in arms], columns=COLUMNS_OF_PANELS)


def _panel(rows: pd.DataFrame, arm: str, results: Results) -> alt.LayerChart:
    base = alt.Chart(rows).encode(
        x=alt.X("batch_size:O", title="batch size", scale=alt.Scale(domain=results.batch_sizes),
                axis=alt.Axis(labelAngle=0)),
        y=alt.Y("rate:Q", title="rate (γ or lr)", scale=alt.Scale(type="log", nice=False, padding=8),
                axis=alt.Axis(format="~g", tickCount=5)),
        tooltip=["arm:N", "batch_size:O", "trial:Q", "status:N", alt.Tooltip("rate:Q", format=".4~g")],
    )  # fmt: skip
    diverged = rows["status"] == "diverged"
    layers = []  # Vega complains of one without rows
    if not diverged.all():
        trained = base.transform_filter("datum.status != 'diverged'").mark_point(filled=True, size=38, opacity=0.75)
        layers.append(trained.encode(color=look.colour(results.arms, legend=None)))
    if diverged.any():
        lost = base.transform_filter("datum.status == 'diverged'")
        lost = lost.mark_point(shape=look.DIVERGED, size=42, strokeWidth=1.8, filled=False)
        layers.append(lost.encode(color=alt.value("#A63603")))
    return alt.layer(*layers).properties(width=look.column_width(COLUMNS_OF_PANELS), height=HEIGHT, title=title(arm))


def caption(_: Results) -> str:
    """How to read it."""
    return (
        "Every ended search trial by batch size and rate, the layer-wise coefficient γ, or lr for SGD. "
        "Dots trained to the end or were pruned, × diverged."
    )


FIGURE = Figure("rates", "Which rates diverge", caption, data, chart, None)
