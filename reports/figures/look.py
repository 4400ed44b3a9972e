"""How every chart looks: one palette, one set of shapes, one theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

WIDTH = 900  # pixels that the plots of a row share
GUTTER = 22  # between two plots of a row

# Okabe and Ito's colours, told apart with any colour vision; legible on white and on near-black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C8C8C")
# Eight shapes beside seven colours: fifty-six arms before a pair repeats.
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left",
          "triangle-right")  # fmt: skip
DIVERGED = "M-1,-1L1,1M-1,1L1,-1"  # the path of ×, no arm's shape
INK, FAINT = "#333333", "#DDDDDD"
NOTE = "#7F7F7F"  # of words and rules inside a plot, which no style sheet reaches: legible on white and on near-black
PERCENT = "~%"  # as many digits as the ticks need

LOG_AXIS = alt.Axis(format="~g", tickCount=5, gridOpacity=0.3)
SOLID = alt.Legend(symbolOpacity=1, symbolType="stroke", symbolStrokeWidth=3)

THEME: dict[str, Any] = {
    "font": "Liberation Sans, Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domainColor": "#999999", "tickColor": "#999999", "gridColor": FAINT, "gridOpacity": 0.6,
        "labelColor": INK, "titleColor": INK, "titleFontWeight": "normal", "labelFontSize": 11,
        "titleFontSize": 12, "titlePadding": 8, "labelOverlap": "greedy",
    },
    "legend": {"orient": "top", "title": None, "labelFontSize": 12, "labelColor": INK, "symbolSize": 90,
               "labelLimit": 300, "symbolOpacity": 1},
    "header": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontWeight": "normal",
               "labelFontWeight": "normal"},
}  # fmt: skip


def colour(arms: Sequence[str], **more: Any) -> alt.Color:
    """An arm's colour: the same in every chart."""
    return alt.Color("arm:N", scale=alt.Scale(domain=list(arms), range=_cycled(COLOURS, arms)), **more)


def shape(arms: Sequence[str], **more: Any) -> alt.Shape:
    """An arm's shape: the same in every chart."""
    return alt.Shape("arm:N", scale=alt.Scale(domain=list(arms), range=_cycled(SHAPES, arms)), **more)


def ramp(steps: int) -> list[str]:
    """So many colours in a visible order, orange over green and blue to violet, legible on white and on near-black."""
    ends = ((230, 150, 20), (40, 160, 120), (40, 125, 195), (140, 80, 170))
    places = [number / max(steps - 1, 1) * (len(ends) - 1) for number in range(steps)]
    colours = []
    for place in places:
        at = min(int(place), len(ends) - 2)
        mixed = (round(a + (place - at) * (b - a)) for a, b in zip(ends[at], ends[at + 1], strict=True))
        colours.append("#" + "".join(f"{part:02X}" for part in mixed))
    return colours


def _cycled(values: Sequence[str], arms: Sequence[str]) -> list[str]:
    return [values[number % len(values)] for number in range(len(arms))]


def column_width(columns: int) -> float:
    """The width of each of so many plots in a row."""
    return max(90.0, (WIDTH - 40) / columns - GUTTER)


def domain(values: pd.Series[float]) -> list[float]:
    """The ends of an axis with room for these fractions and a little air; the whole of 0 to 1 without any."""
    known = values.dropna()
    if known.empty:
        return [0.0, 1.0]
    low, high = float(known.min()), float(known.max())
    air = max(0.06 * (high - low), 0.002)
    return [low - air, high + air]


def spread_by_factors(values: pd.Series[float]) -> bool:
    """Whether a logarithmic axis spreads the values better than a linear one.

    That is where all are above 0, more than tenfold apart, and their median lies nearer the middle of that axis.
    """
    low, high = float(values.min()), float(values.max())
    if low <= 0 or high <= 10 * low:
        return False
    median = float(values.median())
    linear = (median - low) / (high - low)
    factors = math.log(median / low) / math.log(high / low)
    return abs(factors - 0.5) < abs(linear - 0.5)
