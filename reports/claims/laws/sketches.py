"""Figures 6 and 15, which are drawings: what a step is near a minimum. Nothing in them was measured."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from reports.claims.shared.claim import Sketch
from reports.figures import look

PLAIN = alt.Axis(labels=False, ticks=False, grid=False)
BLUE, ORANGE, GREEN = look.COLOURS[0], look.COLOURS[3], look.COLOURS[2]


def _line(x: list[float], y: list[float], colour: str, dash: list[int] | None = None, width: float = 2) -> alt.Chart:
    frame = pd.DataFrame({"w": x, "L": y, "order": range(len(x))})
    mark = alt.Chart(frame).mark_line(color=colour, strokeWidth=width, strokeDash=dash or [1, 0], clip=True)
    return mark.encode(x=_X, y=_Y, order="order:Q")


def _text(x: float, y: float, text: str, colour: str = look.NOTE, align: str = "left") -> alt.Chart:
    frame = pd.DataFrame({"w": [x], "L": [y], "text": [text]})
    return alt.Chart(frame).mark_text(fontSize=13, color=colour, align=align).encode(x=_X, y=_Y, text="text:N")


def _dot(x: float, y: float, colour: str) -> alt.Chart:
    frame = pd.DataFrame({"w": [x], "L": [y]})
    return alt.Chart(frame).mark_point(filled=True, size=90, color=colour, opacity=1).encode(x=_X, y=_Y)


_X = alt.X("w:Q", title="parameter w", axis=PLAIN, scale=alt.Scale(domain=[-2.6, 3.0], nice=False))
_Y = alt.Y("L:Q", title="loss L", axis=PLAIN, scale=alt.Scale(domain=[-0.55, 4.6], nice=False))


def _laid_out(*layers: alt.Chart) -> alt.LayerChart:
    return alt.layer(*layers).properties(width=look.WIDTH - 260, height=300)


def step() -> alt.LayerChart:
    """Figure 6: the tangent's fall over one step."""
    w = np.linspace(-2.2, 2.3, 181)
    start, after = 1.9, 0.9
    loss, slope = 0.9 * start**2, 1.8 * start
    low = loss - slope * (start - after)
    return _laid_out(
        _line(list(w), list(0.9 * w**2), BLUE, width=2.6),
        _line([start + 0.3, after - 0.15], [loss + 0.3 * slope, low - 0.15 * slope], ORANGE),
        _line([after, start, start], [low, low, loss], look.COLOURS[6], [4, 3], 1.6),
        _dot(start, loss, ORANGE),
        _text(start - 0.14, loss + 0.12, "w", ORANGE, align="right"),
        _text(start + 0.3, loss - 0.45, "slope g", ORANGE),
        _text((start + after) / 2, low - 0.24, "Δw = lr·g", align="center"),
        _text(start + 0.08, (loss + low) / 2 - 0.2, "ΔL = Δw·g"),
        _text(0.0, -0.3, "minimum", BLUE, align="center"),
    )


def parabola() -> alt.LayerChart:
    """Figure 15: a minimum, the parabola that touches it, and the distance to it."""
    w = np.linspace(-2.4, 2.6, 201)
    bumpy = 0.8 * w**2 - 0.16 * w**3 + 0.035 * w**4 + 0.25
    near = np.linspace(-1.9, 1.9, 121)
    at = 1.15
    here = 0.8 * at**2 + 0.25
    return _laid_out(
        _line(list(w), list(bumpy), BLUE, width=2.6),
        _line(list(near), list(0.8 * near**2 + 0.25), GREEN, [7, 4]),
        _line([at, at], [-0.1, here], look.COLOURS[6], [4, 3], 1.4),
        _line([0, 0], [-0.1, 0.25], look.COLOURS[6], [4, 3], 1.4),
        _line([0.03, at - 0.03], [-0.1, -0.1], ORANGE, width=1.8),
        _dot(at, here, ORANGE),
        _text(at + 0.12, here - 0.12, "w", ORANGE),
        _text(-0.12, -0.12, "b", align="right"),
        _text(at / 2, -0.34, "d = g / 2a", ORANGE, align="center"),
        _text(-1.25, 2.2, "a(w − b)² + c", GREEN, align="left"),
        _text(2.3, 2.75, "loss", BLUE, align="left"),
    )


FIGURE_6 = Sketch(
    "figure-6",
    "What a step does near a minimum",
    "Sketch, nothing measured (the paper's figure 6): at w the loss has slope g; a step of Δw = lr·g along the "
    "tangent lowers it by ΔL = Δw·g = lr·g², the loss stride of equations (7) and (8). The curve itself falls less "
    "than its tangent.",
    step,
)
FIGURE_15 = Sketch(
    "figure-15",
    "A minimum, and the parabola that stands for it",
    "Sketch, nothing measured (the paper's figure 15): near a minimum the loss is taken for the parabola a(w − b)² "
    "+ c (equation 12), whose slope 2a(w − b) and curvature 2a give the distance d = g/2a to the minimum "
    "(equations 25 and 26).",
    parabola,
)
