"""Schedules of the rate. A plug-in is a settings class whose `factor` gives s(t); warm-up comes before any of them."""

from __future__ import annotations

from typing import Annotated

from trainables.plugins import Registry
from trainables.settings import Settings, about


class Schedule(Settings):
    """A schedule plug-in."""

    name: str
    warmup_epochs: Annotated[
        float,
        about("W", "linear warm-up from 0 before the schedule", unit="epoch", source="Goyal 2017", ge=0),
    ] = 0.0

    def factor(self, progress: float) -> float:
        """s at `progress` in [0, 1) of the epochs that follow the warm-up; 1 is the full rate."""
        raise NotImplementedError

    def at(self, done: float, step: float, epochs: int) -> float:
        """s for the step that starts after `done` epochs and is `step` epochs long, of `epochs` in all."""
        if done < self.warmup_epochs:
            return min(1.0, (done + step) / self.warmup_epochs)
        return self.factor((done - self.warmup_epochs) / (epochs - self.warmup_epochs))


schedules: Registry[type[Schedule]] = Registry("trainables.schedules")
