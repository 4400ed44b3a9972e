"""How a trial ended, and where a cell's trials stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `metrics` of its last epoch and test; `step` and `reason` where it diverged or failed.

    A pruned one's `step` is the epoch it stopped after.
    """

    status: Literal["complete", "pruned", "diverged", "failed"]
    metrics: Mapping[str, float] = field(default_factory=dict)
    step: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Count:
    """A cell's trials of both phases. `failed` ones are run again by the next `study run`."""

    total: int
    done: int = 0
    running: int = 0
    diverged: int = 0
    failed: int = 0
    pruned: int = 0
    best: float | None = None  # validation accuracy
    edges: tuple[str, ...] = ()  # where the best lies at the end of a range
    untried: tuple[str, ...] = ()  # the values of searched choices that no trial had, once the search has ended
    tuned_at: str = ""  # the cell whose search it has its values from, where it does not search itself
    broken: tuple[str, ...] = ()  # where every complete search trial breaks a constraint: which, and how many do

    @property
    def ended(self) -> int:
        return self.done + self.diverged + self.pruned

    @property
    def left(self) -> int:
        return self.total - self.ended
