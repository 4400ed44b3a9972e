"""What a figure is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import altair as alt
import pandas as pd

from reports.results import Results


@dataclass(frozen=True)
class Figure:
    """One chart of the report: its data, how they are drawn, and what to say beside them."""

    name: str  # of its files
    title: str
    caption: Callable[[Results], str]  # read out by screen readers too
    data: Callable[[Results], pd.DataFrame]  # empty where the study has nothing to draw
    chart: Callable[[pd.DataFrame, Results], alt.TopLevelMixin]
    absent: str | None  # said in the chart's place where the data are empty; None leaves the figure out
