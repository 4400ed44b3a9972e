"""What is searched: ranges as a function of batch size and epochs.

A plug-in is a function `space(batch_size, epochs) → {key: range}`, registered in the entry-point group `search_spaces`
under the name of the optimizer or trick it belongs to; ours come from one table (`search_spaces.table`). A value fixed
in the spec takes its key out of the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from typing import Any

from trainables.plugins import Registry


@dataclass(frozen=True)
class Float:
    """Numbers from `low` to `high`, evenly in the logarithm if `log`.

    With `complement` the range is that of 1 - value, so that momentum m is spread evenly over its memory 1/(1 - m).
    """

    low: float
    high: float
    log: bool = False
    complement: bool = False

    def value(self, drawn: float) -> float:
        """The field's value for what the sampler drew."""
        return 1 - drawn if self.complement else drawn

    def ends(self) -> tuple[float, float]:
        """The field's values at `low` and at `high`."""
        return self.value(self.low), self.value(self.high)

    def centre(self) -> float:
        """What a sampler would draw in the middle."""
        return exp((log(self.low) + log(self.high)) / 2) if self.log else (self.low + self.high) / 2


@dataclass(frozen=True)
class Choice:
    """One of `choices`; the first is the usual one."""

    choices: tuple[Any, ...]

    def value(self, drawn: Any) -> Any:
        """The field's value for what the sampler drew: the same."""
        return drawn

    def ends(self) -> tuple[Any, ...]:
        """Every value that may be drawn."""
        return self.choices

    def centre(self) -> Any:
        """The usual one."""
        return self.choices[0]


Range = Float | Choice
Space = Callable[[int, int], dict[str, Range]]

spaces: Registry[Space] = Registry("search_spaces")


def scaled(low: float, high: float, batch_size: int, full_at: int) -> Float:
    """A logarithmic range from batch size `full_at` up; below it, both ends shrink linearly (Goyal et al. 2017)."""
    share = min(1.0, batch_size / full_at)
    return Float(low * share, high * share, log=True)
