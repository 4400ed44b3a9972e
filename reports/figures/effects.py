"""The shape of several effects beside each other: a point and its interval a line, over the line of no effect."""

from __future__ import annotations

import altair as alt
import pandas as pd

from reports.figures import look, seeds

COLUMNS = ["group", "label", "mean", "low", "high", "seeds", "seed"]
STEP = 30


def chart(table: pd.DataFrame, axis: str, *, none: float = 0.0, margin: float | None = None) -> alt.LayerChart:
    """`table` has COLUMNS, its rows as in `reports.figures.seeds`.

    `group` colours, `margin` shades what counts as no difference on both sides of `none`.
    """
    labels, groups = list(dict.fromkeys(table["label"])), list(dict.fromkeys(table["group"]))
    ends = pd.concat([table["mean"], table["low"], table["high"], pd.Series([none])]).dropna()
    if margin is not None:
        ends = pd.concat([ends, pd.Series([none - margin, none + margin])])
    air = 0.06 * max(float(ends.max() - ends.min()), 1e-9)
    scale = alt.Scale(domain=[float(ends.min()) - air, float(ends.max()) + air], nice=False)
    x = alt.X("mean:Q", title=axis, scale=scale, axis=alt.Axis(format="~f", tickCount=7))
    y = alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=260, grid=False, domain=False, ticks=False))
    base = alt.Chart(table).encode(
        y=y,
        color=alt.Color(
            "group:N",
            scale=alt.Scale(domain=groups, range=[look.COLOURS[n % len(look.COLOURS)] for n in range(len(groups))]),
            legend=alt.Legend() if len(groups) > 1 else None,
        ),
    )
    crowded = bool(
        seeds.of_means(table).duplicated("label").any()
    )  # several groups at one label stand below each other
    if crowded:
        base = base.encode(yOffset=alt.YOffset("group:N", sort=groups))
    tooltip = ["label:N", "group:N", *(alt.Tooltip(f"{each}:Q", format=".3~g") for each in ("mean", "low", "high")),
               "seeds:Q"]  # fmt: skip
    layers = [
        alt.Chart(pd.DataFrame({"mean": [none]})).mark_rule(color="#888888", strokeDash=[4, 3]).encode(x=x),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2.4)
        .encode(x=alt.X("low:Q", title=axis, scale=scale), x2="high:Q"),
        seeds.points(base, x=x),
        base.transform_filter(seeds.MEANS).mark_point(filled=True, size=80, opacity=1).encode(x=x, tooltip=tooltip),
    ]
    if margin is not None:
        band = pd.DataFrame({"mean": [none - margin], "end": [none + margin]})
        layers.insert(0, alt.Chart(band).mark_rect(color="#888888", opacity=0.16).encode(x=x, x2="end:Q"))
    step = STEP * (max(1.0, 0.62 * len(groups)) if crowded else 1.0)
    return alt.layer(*layers).properties(width=look.WIDTH - 320, height=step * len(labels) + 10)
