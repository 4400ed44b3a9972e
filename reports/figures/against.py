"""The shape of means with intervals against a number on the x axis: batch size, or a discard ratio."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look, seeds

COLUMNS = ["line", "x", "mean", "low", "high", "seeds", "seed"]
HEIGHT = 300


def chart(table: pd.DataFrame, x: str, y: str, *, sizes: bool = True, log: bool = False, form: str = "~f",
          ratios: bool = False, rule: float | None = None) -> alt.LayerChart:  # fmt: skip
    """`table` has COLUMNS, its rows as in `reports.figures.seeds`.

    `sizes`: x is a batch size, on a logarithmic axis; `ratios`: it is a ratio, on one; `rule`: a line at this height.
    """
    lines, at = list(dict.fromkeys(table["line"])), sorted(set(table["x"]))
    if log:
        scale, axis = alt.Scale(type="log", nice=False, padding=12), look.LOG_AXIS
    else:
        scale, axis = alt.Scale(zero=False, nice=False, padding=12), alt.Axis(format=form, tickCount=6)
    across, ticks = alt.Scale(nice=False, padding=16), alt.Axis(values=at, format="d", grid=False)
    if ratios:
        across, ticks = alt.Scale(type="log", nice=False, padding=16), look.LOG_AXIS
    elif sizes:
        across = alt.Scale(type="log", base=2, nice=False, domain=[at[0] / 1.4, at[-1] * 1.4])
    colours = [look.COLOURS[number % len(look.COLOURS)] for number in range(len(lines))]
    shapes = [look.SHAPES[number % len(look.SHAPES)] for number in range(len(lines))]
    legend = alt.Legend() if len(lines) > 1 else None
    base = alt.Chart(table).encode(
        x=alt.X("x:Q", title=x, scale=across, axis=ticks),
        color=alt.Color("line:N", scale=alt.Scale(domain=lines, range=colours), legend=legend),
    )
    mean = alt.Y("mean:Q", title=y, scale=scale, axis=axis)
    of_means = base.transform_filter(seeds.MEANS)
    bars = base.transform_filter("isValid(datum.low)")
    drawn = [
        of_means.mark_line(strokeWidth=1.4, clip=True).encode(y=mean),
        seeds.points(base, y=mean),
        bars.mark_rule(strokeWidth=2, clip=True).encode(y=alt.Y("low:Q", title=y, scale=scale, axis=axis), y2="high:Q"),
        of_means.mark_point(filled=True, size=70, opacity=1, clip=True).encode(
            y=mean,
            shape=alt.Shape("line:N", scale=alt.Scale(domain=lines, range=shapes), legend=legend),
            tooltip=["line:N", "x:Q", *(alt.Tooltip(f"{each}:Q", format=".3~g") for each in ("mean", "low", "high")),
                     "seeds:Q"],
        ),
    ]  # fmt: skip
    if rule is not None:
        line = alt.Chart(pd.DataFrame({"mean": [rule]})).mark_rule(color="#888888", strokeDash=[4, 3])
        drawn.insert(0, line.encode(y=alt.Y("mean:Q", title=y, scale=scale, axis=axis)))
    return alt.layer(*drawn).properties(width=look.WIDTH - 60, height=HEIGHT)
