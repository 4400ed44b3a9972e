"""The divergence map: where training blew up."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look
from reports.figures.figure import Figure
from reports.results import Results
from study.statistics import arm_of, batch_size_of

PHASES = ("search", "confirm")


def data(results: Results) -> pd.DataFrame:
    """A row a cell and phase that has trials: arm, batch_size, phase, trials (ended), diverged, share."""
    counted = pd.concat([results.search, results.confirmed])
    counted = counted[counted["status"] != "running"]
    groups = counted["status"].eq("diverged").groupby([counted["cell"], counted["phase"]])
    table = groups.agg(trials="size", diverged="sum").reset_index()
    table.insert(0, "arm", table["cell"].map(arm_of))
    table.insert(1, "batch_size", table["cell"].map(batch_size_of))
    return table.drop(columns="cell").assign(share=table["diverged"] / table["trials"])


def chart(table: pd.DataFrame, results: Results) -> alt.HConcatChart:
    """A map a phase: arms down, batch sizes across."""
    phases = [phase for phase in PHASES if phase in set(table["phase"])]
    return alt.hconcat(*(_map(table[table["phase"] == phase], phase, results) for phase in phases), spacing=40)


def _map(table: pd.DataFrame, phase: str, results: Results) -> alt.LayerChart:
    base = alt.Chart(table, title=alt.Title(f"{phase} trials", fontWeight="normal", fontSize=12, color=look.INK))
    base = base.transform_calculate(label="datum.diverged + ' of ' + datum.trials").encode(
        x=alt.X(
            "batch_size:O",
            title="batch size",
            scale=alt.Scale(domain=results.batch_sizes),
            axis=alt.Axis(labelAngle=0),
        ),
        y=alt.Y("arm:N", title=None, scale=alt.Scale(domain=results.arms)),
        tooltip=["arm:N", "batch_size:O", "trials:Q", "diverged:Q", alt.Tooltip("share:Q", format=".0%")],
    )
    colours = alt.Scale(domain=[0, 1], range=["#F7F4EF", "#A63603"])
    legend = alt.Legend(format=".0%", orient="right", gradientLength=100, title="diverged")
    tile = base.mark_rect(stroke="#888888", strokeWidth=0.5).encode(
        color=alt.Color("share:Q", scale=colours, legend=legend)
    )
    label = base.mark_text(fontSize=11).encode(
        text="label:N", color=alt.condition("datum.share > 0.5", alt.value("white"), alt.value("#222222"))
    )
    width = min(330, 90 * len(results.batch_sizes))
    return alt.layer(tile, label).properties(width=width, height=30 * len(results.arms))


def caption(_: Results) -> str:
    """How to read it."""
    return (
        "Share of the ended trials whose loss stopped being finite, by arm and batch size, in the search and "
        "over the confirm seeds. An empty tile has no ended trial."
    )


FIGURE = Figure("divergence", "Divergence map", caption, data, chart, "No trial has ended yet.")
