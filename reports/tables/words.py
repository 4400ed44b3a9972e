"""Numbers as readers want them."""

from __future__ import annotations

import math

NONE = "–"


def percent(fraction: float, low: float, high: float) -> str:
    """`0.9123 [0.902, 0.922]` → `"91.23 ± 1.03"`; without an interval `"91.23"`; NaN → a dash."""
    if math.isnan(fraction):
        return NONE
    mean = f"{100 * fraction:.2f}".replace("-", "−")
    return mean if math.isnan(low) else f"{mean} ± {50 * (high - low):.2f}"


def value(setting: object) -> str:
    """A setting's value: numbers to four digits, whole ones whole."""
    if isinstance(setting, float):
        return f"{setting:.4g}".replace("-", "−")
    return str(setting)
