"""Panels in rows and columns.

Placed one by one: Vega-Lite's own facets shift the panels behind a missing combination into the wrong place.
"""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from reports.figures import look


def grid(panels: Sequence[alt.LayerChart], columns: int) -> alt.ConcatChart:
    """The panels, row by row, with their plots aligned."""
    return alt.concat(*panels, columns=columns, align="each", spacing={"row": 14, "column": 18})


def title(text: str) -> alt.Title:
    """What a panel shows, above its left edge."""
    return alt.Title(text, anchor="start", frame="group", fontSize=11, fontWeight="normal", color=look.INK, offset=6)
