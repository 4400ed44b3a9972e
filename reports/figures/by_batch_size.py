"""The shape that figures of a quantity against batch size share: a mark, an interval bar and its seeds a cell."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from reports.figures import look, seeds
from study.statistics import arm_of, batch_size_of

HEIGHT = 320
VALUES = ["mean", "low", "high"]
DODGE = 0.07  # doublings between the bars of two arms at one batch size, so that they do not hide each other


def cells(gaps: pd.DataFrame, by_seed: pd.DataFrame, mean: str, low: str, high: str) -> pd.DataFrame:
    """A row a cell: arm, batch_size, seeds, diverged, mean, low, high, lost (all confirm seeds diverged).

    Below them, as in `reports.figures.seeds`, the seeds of `by_seed` (seeds × cells).
    """
    table = gaps[["arm", "batch_size", "seeds", "diverged"]].assign(mean=gaps[mean], low=gaps[low], high=gaps[high])
    lost = (table["seeds"] > 0) & (table["diverged"] == table["seeds"])
    rows = [
        {"arm": arm_of(str(cell)), "batch_size": batch_size_of(str(cell)), "mean": value, "seed": seed, "lost": False}
        for cell, column in by_seed.items()
        for seed, value in column.dropna().items()
    ]
    return seeds.below(table.assign(lost=lost)[table["mean"].notna() | lost], rows)


def chart(
    table: pd.DataFrame, arms: Sequence[str], sizes: Sequence[int], y_title: str, unit: str, *, zero: bool = False
) -> alt.LayerChart:
    """Means with interval bars over log2(batch size); × at the foot where all seeds diverged; a line at 0 if asked for.

    The table's fractions are drawn, and told by the tooltips, as hundredths, which are called `unit`.
    """
    step = min(DODGE, DODGE * 8 / len(arms))  # all arms keep within half a doubling
    place = {arm: step * (number - (len(arms) - 1) / 2) for number, arm in enumerate(arms)}
    spread = table.assign(x=table["batch_size"] * 2.0 ** table["arm"].map(place))
    spread[VALUES] = 100 * spread[VALUES]
    y_axis = alt.Axis(title=f"{y_title} ({unit})")
    picked = alt.selection_point(fields=["arm"], bind="legend")
    zoom = alt.selection_interval(bind="scales", zoom="wheel![event.shiftKey]")
    base = alt.Chart(spread).encode(
        x=alt.X(
            "x:Q",
            title="batch size (logarithmic)",
            scale=alt.Scale(type="log", base=2, nice=False, domain=[sizes[0] / 1.4, sizes[-1] * 1.4]),
            axis=alt.Axis(values=list(sizes), format="d", grid=False),
        ),
        color=look.colour(arms),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.15)),
    )
    y = alt.Y("mean:Q", axis=y_axis, scale=_scale(spread))
    tooltip = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("batch_size:Q", title="batch size"),
        *(alt.Tooltip(f"{each}:Q", format=".2f", title=f"{each} ({unit})") for each in VALUES),
        alt.Tooltip("seeds:Q", title="confirm seeds"),
        alt.Tooltip("diverged:Q"),
    ]
    of_means = base.transform_filter(seeds.MEANS)
    # Vega's legend answers to clicks only where the first layer holds the selection.
    line = of_means.mark_line(strokeWidth=1.2, clip=True).encode(y=y).add_params(picked, zoom)
    bar = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2, clip=True)
    bar = bar.encode(y=alt.Y("low:Q", axis=y_axis), y2="high:Q")
    mark = of_means.mark_point(filled=True, size=80, clip=True).encode(y=y, shape=look.shape(arms), tooltip=tooltip)
    cross = (
        base.transform_filter("datum.lost")
        .mark_point(shape=look.DIVERGED, size=60, strokeWidth=2, filled=False)
        .encode(y=alt.value(HEIGHT - 8), tooltip=tooltip)
    )
    layers = [line, bar, seeds.points(base, y=y), mark, cross]
    if zero:
        rule = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color="#888888", strokeDash=[4, 3], clip=True)
        layers.append(rule.encode(y=alt.Y("zero:Q", axis=y_axis)))
    return alt.layer(*layers).properties(width=look.WIDTH - 60, height=HEIGHT)


def _scale(table: pd.DataFrame) -> alt.Scale:
    """Room for every bar and seed."""
    ends = pd.concat([table[each] for each in VALUES])
    return alt.Scale(domain=[100 * each for each in look.domain(ends / 100)], nice=False)
