"""Performance profiles of the arms over batch sizes, after Dolan and Moré (2002) and AlgoPerf (Dahl et al. 2023)."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports import effort
from reports.figures import look
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import percent

COLUMNS = ["arm", "ratio", "share"]
HEIGHT, FARTHEST = 260, 4.0


def data(results: Results) -> pd.DataFrame:
    """A row a step of an arm's profile: arm, ratio, share. Empty for one arm, or one batch size.

    `share`: of the batch sizes, in how many the arm's seeds reach the target within `ratio` times the epochs of the arm
    that is fastest there.
    """
    if len(results.arms) < 2 or len(results.batch_sizes) < 2:
        return pd.DataFrame(columns=COLUMNS)
    taken = effort.usual(effort.reached(results))
    ratios = taken["epoch"] / taken.groupby("batch_size")["epoch"].transform("min")
    rows = []
    for arm in results.arms:
        own = sorted(ratios[taken["arm"] == arm].dropna())
        rows += [(arm, ratio, (number + 1) / len(results.batch_sizes)) for number, ratio in enumerate(own)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    end = max(FARTHEST, 1.05 * max(ratio for _, ratio, _ in rows))
    for arm in results.arms:
        shares = [share for name, _, share in rows if name == arm]
        rows += [(arm, 1.0, 0.0)] * (not shares) + [(arm, end, max(shares, default=0.0))]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["ratio", "share"])
    return table.drop_duplicates(["arm", "ratio"], keep="last").sort_values("arm", kind="stable", ignore_index=True)


def chart(table: pd.DataFrame, results: Results) -> alt.Chart:
    """Steps: higher and further to the left is better."""
    picked = alt.selection_point(fields=["arm"], bind="legend")
    return (
        alt.Chart(table)
        .mark_line(interpolate="step-after", strokeWidth=2.2)
        .encode(
            x=alt.X("ratio:Q", title="epochs to the target, as a multiple of the fastest arm's at that batch size",
                    scale=alt.Scale(type="log", base=2, nice=False), axis=alt.Axis(format="~g", tickCount=6)),
            y=alt.Y("share:Q", title="share of the batch sizes", scale=alt.Scale(domain=[0, 1.02], nice=False),
                    axis=alt.Axis(format=look.PERCENT, tickCount=5)),
            color=look.colour(results.arms),
            opacity=alt.condition(picked, alt.value(1), alt.value(0.15)),
            tooltip=["arm:N", alt.Tooltip("ratio:Q", format=".3g"), alt.Tooltip("share:Q", format=".0%")],
        )
        .add_params(picked)
        .properties(width=look.WIDTH - 60, height=HEIGHT)
    )  # fmt: skip


def caption(results: Results) -> str:
    """How to read it."""
    aim = effort.target(results)
    return (
        f"In how many of the {len(results.batch_sizes)} batch sizes half of an arm's seeds reach the target within so "
        "many times the epochs of the arm that is fastest there. An arm that is fastest everywhere is at the top from "
        "the left edge on; one that stays below the top never reaches the target at some batch size. The target: "
        f"{100 * effort.SHARE:.0f} % of the accuracy at which the baseline cell ends, {percent(aim, aim, aim)} %."
    )


FIGURE = Figure("profile", "Who reaches the target, and how fast", caption, data, chart, None)
