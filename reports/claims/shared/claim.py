"""What a claim is: its rule, stated beforehand, and the judgement that a study's results give it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import altair as alt

from reports.figures.figure import Figure
from reports.results import Results
from study.intervals import Estimate

Status = Literal["confirmed", "refuted", "undecided"]
LEVEL = 0.95
UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def single(measured: float, n: int) -> Estimate:
    """A number of n seeds that has no interval."""
    return Estimate(measured, math.nan, math.nan, n)


class Missing(Exception):
    """The study lacks what the claim is judged by; the text says what, as a sentence's end."""


@dataclass(frozen=True)
class Part:
    """A line of the table below a verdict: one layer, batch size or arm. `status` None: it decides nothing."""

    label: str
    effect: Estimate
    unit: str
    status: Status | None = None


@dataclass(frozen=True)
class Judgement:
    """A verdict: at this study's scale, with this many seeds."""

    status: Status
    effect: Estimate  # with its confidence interval
    unit: str
    sentence: str  # that a stranger understands
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A claim, and the rule it is judged by. All but `judge` is text that stands on the page."""

    name: str  # in specs, of its files
    title: str
    says: str  # what is claimed, and by whom
    statistic: str
    confirms: str
    refutes: str
    decide: Callable[[Results], Judgement]  # raises Missing
    figure: Figure
    note: str = ""  # what the reader should know besides: corrections, limits

    def judge(self, results: Results) -> Judgement:
        """The verdict; undecided, and why, where the study lacks what it needs."""
        try:
            return self.decide(results)
        except Missing as missing:
            return Judgement("undecided", UNKNOWN, "", f"Nothing can be said yet: {missing}.")


@dataclass(frozen=True)
class Sketch:
    """A drawing that explains; nothing in it was measured."""

    name: str
    title: str
    caption: str
    chart: Callable[[], alt.TopLevelMixin]


# Rules


def above(effect: Estimate, bound: float = 0.0) -> Status:
    """Confirmed with the whole interval above `bound`, refuted with the whole interval below it."""
    return within(effect, bound, math.inf)


def below(effect: Estimate, bound: float = 0.0) -> Status:
    """Confirmed with the whole interval below `bound`, refuted with the whole interval above it."""
    return within(effect, -math.inf, bound)


def within(effect: Estimate, low: float, high: float) -> Status:
    """Confirmed with the whole interval between the bounds, refuted with all of it outside on one side.

    An interval that is not there, or has no width, decides nothing: it does not show the seeds' spread.
    """
    if not effect.high > effect.low:
        return "undecided"
    if low < effect.low and effect.high < high:
        return "confirmed"
    return "refuted" if effect.high < low or effect.low > high else "undecided"


def all_of(statuses: Iterable[Status]) -> Status:
    """Confirmed where every one is, refuted where any one is."""
    known = list(statuses)
    if "refuted" in known:
        return "refuted"
    return "confirmed" if known and all(status == "confirmed" for status in known) else "undecided"
