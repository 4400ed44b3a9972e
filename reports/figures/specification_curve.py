"""The specification curve of a claim: its effect in every reading, sorted, and below it which choices each one makes.

After Simonsohn, Simmons & Nelson 2020 (Nature Human Behaviour 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from reports.figures import look
from reports.figures.figure import Figure
from reports.readings import InReading

COLUMNS = ["reading", "verdict", "mean", "low", "high", "seeds", "choice", "made"]
VERDICTS = {"confirmed": look.COLOURS[2], "refuted": look.COLOURS[3], "undecided": look.COLOURS[6]}
OF_RECORD = "of record"
HEIGHT, ROW = 220, 22


def rows(found: Sequence[InReading], record: Mapping[str, str]) -> pd.DataFrame:
    """COLUMNS, a row a reading and choice, readings by effect; `record`: what the reading of record chooses."""
    nouns = list(dict.fromkeys([*record, *(noun for each in found for noun in each.choices)]))
    known = [each for each in found if each.judgement.effect.n]
    made = {each.reading: {**record, **each.choices} for each in known}
    lines = [(noun, value) for noun in nouns for value in dict.fromkeys(m[noun] for m in made.values() if noun in m)]
    table = [
        (OF_RECORD if each.of_record else each.reading, each.judgement.status, each.judgement.effect.mean,
         each.judgement.effect.low, each.judgement.effect.high, each.judgement.effect.n, f"{noun}: {value}",
         made[each.reading].get(noun) == value)
        for each in sorted(known, key=lambda each: each.judgement.effect.mean)
        for noun, value in lines
    ]  # fmt: skip
    return pd.DataFrame(table, columns=COLUMNS)


def chart(table: pd.DataFrame, unit: str) -> alt.VConcatChart:
    """`table` as `rows` makes it, of two readings or more; `unit` of the effect."""
    effects = table.drop_duplicates("reading")
    order = list(effects["reading"])
    width = min(look.WIDTH - 260, 70 * len(order) + 40)
    x = alt.X("reading:N", sort=order, title=None, axis=None)
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values())))
    shape = alt.Shape("record:N", legend=None, scale=alt.Scale(domain=[True, False], range=["diamond", "circle"]))
    base = alt.Chart(effects.assign(record=effects["reading"] == OF_RECORD)).encode(x=x, color=colour)
    y = alt.Y("mean:Q", title=f"effect ({unit})" if unit else "effect", scale=alt.Scale(zero=False))
    tooltip = [alt.Tooltip("reading:N"), alt.Tooltip("verdict:N"), alt.Tooltip("seeds:Q"),
               *(alt.Tooltip(f"{each}:Q", format=".3~g") for each in ("mean", "low", "high"))]  # fmt: skip
    above = alt.layer(
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2.4).encode(y="low:Q", y2="high:Q"),
        base.mark_point(filled=True, size=110, opacity=1).encode(y=y, shape=shape, tooltip=tooltip),
    ).properties(width=width, height=HEIGHT)
    lines = list(dict.fromkeys(table["choice"]))
    names = alt.Axis(labelAngle=-40, labelLimit=160, labelOverlap=False)
    cells = alt.Chart(table).encode(
        x=alt.X("reading:N", sort=order, title="reading", axis=names),
        y=alt.Y("choice:N", sort=lines, title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False)),
    )
    below = alt.layer(
        cells.transform_filter("!datum.made").mark_point(size=26, filled=True, color=look.FAINT, opacity=1),
        cells.transform_filter("datum.made").mark_point(size=70, filled=True, opacity=1).encode(color=colour),
    ).properties(width=width, height=ROW * len(lines))
    return alt.vconcat(above, below, spacing=8)


def figure(name: str, found: Sequence[InReading], record: Mapping[str, str]) -> Figure:
    """The curve of the claim `name` as a figure of its page; it has no data below two readings with an effect."""
    table = rows(found, record)
    unit = next((each.judgement.unit for each in found if each.judgement.unit), "")
    data = table if table["reading"].nunique() > 1 else table.iloc[:0]
    return Figure(
        f"{name}-readings",
        "The claim in every reading",
        lambda _: (
            "The effect in each reading with its 95 % interval, sorted; the diamond is the reading of record. "
            "Below, the choices that each reading makes."
        ),
        lambda _: data,
        lambda table, _: chart(table, unit),
        None,
    )
