"""A figure, drawn from a study's results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.drawing import specification
from reports.figures.figure import Figure
from reports.results import Results


@dataclass(frozen=True)
class Drawn:
    """A figure on the page; `spec` is None where the study has nothing to draw."""

    figure: Figure
    caption: str
    data: pd.DataFrame
    spec: dict[str, Any] | None


def draw(figure: Figure, results: Results) -> Drawn:
    """The figure's specification, where there are data for one."""
    data, caption = figure.data(results), figure.caption(results)
    spec = None if data.empty else specification(figure.chart(data, results), caption)
    return Drawn(figure, caption, data, spec)
