"""A trial that survives its process: its folder holds its newest checkpoint until it has ended."""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.train import Diverged, Trial

Status = Literal["running", "complete", "diverged"]


@dataclass(frozen=True)
class Progress:
    """What happened since the last call: `rows` of metrics by epoch, and how the trial stands.

    `final` holds test metrics after the last epoch, `step` and `reason` say where and why a trial diverged.
    """

    status: Status
    rows: list[tuple[int, dict[str, float]]]
    final: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    reason: str | None = None


class CheckpointedTrial:
    """`Trial` with a checkpoint in `folder` at the end of an epoch, at most one every `every` seconds.

    A checkpoint is written whole or not at all; a new process given the same folder continues from it.
    """

    def __init__(self, config: TrialConfig, splits: Splits, folder: Path, *, test: bool, every: float = 5.0) -> None:
        self.trial = Trial(config, splits)
        self.path, self.test, self.every = folder / "checkpoint.pt", test, every
        self.saved_at = time.monotonic()
        self.unsent = 0  # rows before this one were handed out by this process
        if (state := self._load()) is not None:
            self.trial.load_state_dict(state)

    def advance(self) -> Progress:
        """Train one epoch, or only test if none is left. After a restart, earlier rows are handed out again."""
        try:
            if not self.trial.finished:
                self.trial.run_epoch()
            final = self.trial.run_test() if self.test and self.trial.finished else {}
        except Diverged as end:
            return Progress("diverged", self._rows(), step=end.step, reason=end.reason)
        if self.trial.finished:
            return Progress("complete", self._rows(), final)
        if time.monotonic() - self.saved_at >= self.every:
            self._save()
        return Progress("running", self._rows())

    def _rows(self) -> list[tuple[int, dict[str, float]]]:
        rows = list(enumerate(self.trial.rows, start=1))[self.unsent :]
        self.unsent = len(self.trial.rows)
        return rows

    def _load(self) -> dict[str, Any] | None:
        """The newest checkpoint, if there is one; a damaged one costs time, not the trial."""
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=self.trial.device, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError):
            return None
        return state

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}")  # a worker that a killed driver left may still write
        with partial.open("wb") as file:
            torch.save(self.trial.state_dict(), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)
        self.saved_at = time.monotonic()
