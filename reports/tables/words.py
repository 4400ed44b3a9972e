"""Numbers as readers want them."""

from __future__ import annotations

import math

from study.intervals import SAME

NONE = "–"


def percent(fraction: float, low: float, high: float) -> str:
    """`0.9123, 0.8991, 0.9207` → `"91.23 [89.91, 92.07]"`; without an interval, or of no width, `"91.23"`.

    NaN → a dash.
    """
    if math.isnan(fraction):
        return NONE
    mean, *ends = (f"{100 * each:.2f}".replace("-", "−") for each in (fraction, low, high))
    return f"{mean} [{', '.join(ends)}]" if high - low > SAME else mean


def value(setting: object) -> str:
    """A setting's value: numbers to four digits, whole ones whole."""
    if isinstance(setting, float):
        return f"{setting:.4g}".replace("-", "−")
    return str(setting)


def number(quantity: float) -> str:
    """To three digits, at most two decimals below ten: `-0.4963` → `"−0.50"`, `0.00123` → `"0.00123"`."""
    if not math.isfinite(quantity):
        return NONE
    plain = f"{quantity:.2f}" if 0.095 <= abs(quantity) < 10 or quantity == 0 else f"{quantity:.3g}"
    if 10 <= abs(quantity) < 1e5:
        plain = f"{quantity:,.0f}" if abs(quantity) >= 100 else f"{quantity:.1f}"
    return plain.replace("-", "−")


def ranged(mean: float, low: float, high: float, unit: str = "") -> str:
    """`"−0.496 [−0.521, −0.471] loss"`: with the decimals that the interval's width is worth."""
    width = high - low
    if not math.isfinite(width) or width <= 0 or math.isnan(mean):
        return f"{number(mean)} {unit}".strip()
    decimals = max(0, 1 - math.floor(math.log10(width)))
    ends = (low, high)
    if decimals > 5 or max(map(abs, ends)) >= 1e6:
        texts = [number(each) for each in (mean, *ends)]
    else:
        texts = [f"{round(each, decimals) + 0.0:,.{decimals}f}".replace("-", "−") for each in (mean, *ends)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}] {unit}".strip()
