"""The boundary alarm: a best trial at the end of its range says that the range may be too narrow; and its widening.

Optuna's distribution is fixed and wide from the start; the active range inside it grows, a factor of ten a round, and
each round gives every cell the same extra trials, so that no arm gains by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil, exp, log
from typing import Literal

from search_spaces import Float, Range
from study.plan import Cell
from trainables.errors import Refused

EDGE = 0.05  # A best trial in this share of a range at either end raises an alarm.
FACTOR = 10.0  # A range grows by this factor in a round.
ROUNDS = 3  # So often a search is widened at most.
SHARE = 0.25  # A round adds this share of the first budget.

Space = Mapping[str, Range]


@dataclass(frozen=True)
class Edge:
    """The best trial's value of `key` lies at the `end` of what was drawn from."""

    key: str
    end: Literal["low", "high"]
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.key} = {self.value:.3g}, at the end {self.limit:.3g} of its range"


def extra(trials: int) -> int:
    """Trials that a round adds to a budget of `trials`."""
    return ceil(SHARE * trials)


def edges(cell: Cell, space: Space, drawn: Mapping[str, float]) -> list[Edge]:
    """Where the values `drawn` for a trial lie at an end that its field's domain does not have itself."""
    raised: list[Edge] = []
    for key, range_ in space.items():
        if not isinstance(range_, Float):
            continue
        place = _place(range_, drawn[key])
        end: Literal["low", "high"] | None = "low" if place < EDGE else "high" if place > 1 - EDGE else None
        if end is not None and _accepts(cell, space, key, _beyond(range_, end)):
            raised.append(Edge(key, end, range_.value(drawn[key]), range_.value(getattr(range_, end))))
    return raised


def widenable(range_: Range) -> bool:
    """Logarithmic ranges of a value itself: rates and decays."""
    return isinstance(range_, Float) and range_.log and not range_.complement


def widest(cell: Cell) -> dict[str, Range]:
    """The space with every widenable range as wide as all rounds could make it, within its field's domain."""
    wide: dict[str, Range] = {}
    for key, range_ in cell.space.items():
        wide[key] = range_
        if isinstance(range_, Float) and widenable(range_):
            reach = FACTOR**ROUNDS
            low, high = range_.low / reach, range_.high * reach
            wide[key] = replace(
                range_,
                low=low if _accepts(cell, cell.space, key, low) else range_.low,
                high=high if _accepts(cell, cell.space, key, high) else range_.high,
            )
    return wide


def widened(space: Space, alarms: Iterable[Edge], wide: Space) -> dict[str, Range]:
    """`space` with a round's growth where an alarm was raised, never beyond `wide`."""
    grown = dict(space)
    for edge in alarms:
        range_, limit = grown[edge.key], wide[edge.key]
        if isinstance(range_, Float) and isinstance(limit, Float) and widenable(range_):
            grown[edge.key] = (
                replace(range_, low=max(range_.low / FACTOR, limit.low))
                if edge.end == "low"
                else replace(range_, high=min(range_.high * FACTOR, limit.high))
            )
    return grown


def _place(range_: Float, drawn: float) -> float:
    """0 at the low end, 1 at the high one, as the sampler sees it."""
    if range_.log:
        return log(drawn / range_.low) / log(range_.high / range_.low)
    return (drawn - range_.low) / (range_.high - range_.low)


def _beyond(range_: Float, end: Literal["low", "high"]) -> float:
    """A hundredth of the range past its `end`: a value that the field may or may not accept."""
    step = 0.01 if end == "high" else -0.01
    if range_.log:
        edge = range_.high if end == "high" else range_.low
        return edge * exp(step * log(range_.high / range_.low))
    return (range_.high if end == "high" else range_.low) + step * (range_.high - range_.low)


def _accepts(cell: Cell, space: Space, key: str, drawn: float) -> bool:
    """Whether a trial of the cell takes the value `drawn` for `key`, the other fields in the middle of their ranges."""
    values = {other: range_.value(range_.centre()) for other, range_ in space.items()}
    try:
        cell.config({**values, key: space[key].value(drawn)}, seed=0)
    except Refused:
        return False
    return True
