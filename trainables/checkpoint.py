"""A trial that survives its process: its folder holds its newest checkpoint until it has ended."""

from __future__ import annotations

import io
import os
import pickle
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
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

    `final` holds test metrics after the last epoch, `step` and `reason` say where and why a trial diverged, `seconds`
    is what it trained and evaluated, `warning` what went wrong beside it.
    """

    status: Status
    rows: list[tuple[int, dict[str, float]]]
    final: dict[str, float] = field(default_factory=dict)
    step: int | None = None
    reason: str | None = None
    seconds: float = 0.0
    warning: str | None = None

    def then(self, later: Progress) -> Progress:
        """This and what came after it, as one."""
        return replace(
            later, rows=self.rows + later.rows, seconds=self.seconds + later.seconds,
            warning=self.warning or later.warning,
        )  # fmt: skip


class CheckpointedTrial:
    """`Trial` with a checkpoint in `folder` at the end of an epoch, at most one every `every` seconds.

    A checkpoint is written whole or not at all; a new process given the same folder continues from it. One that cannot
    be written, as on a full disk, costs a warning: the trial goes on, and a kill would throw it back to the one before.
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
        began = time.monotonic()
        try:
            if not self.trial.finished:
                self.trial.run_epoch()
            final = self.trial.run_test() if self.test and self.trial.finished else {}
        except Diverged as end:
            seconds = time.monotonic() - began
            return Progress("diverged", self._rows(), step=end.step, reason=end.reason, seconds=seconds)
        seconds = time.monotonic() - began
        if self.trial.finished:
            return Progress("complete", self._rows(), final, seconds=seconds)
        warning = self._save() if time.monotonic() - self.saved_at >= self.every else None
        return Progress("running", self._rows(), seconds=seconds, warning=warning)

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

    def _save(self) -> str | None:
        """Write a checkpoint; returns a warning if that cannot be done."""
        self.saved_at = time.monotonic()
        whole = io.BytesIO()
        torch.save(self.trial.state_dict(), whole)
        partial = self.path.with_suffix(f".{os.getpid()}")  # a worker that a killed driver left may still write
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(whole.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            return f"checkpoints cannot be written in {self.path.parent.parent} ({error.strerror}); trials go on"
        return None
