"""A trial that survives its process: its folder holds its newest checkpoint until it has ended.

Its file is `MAGIC`, the digest of what follows, and what `torch.save` wrote; that alone where version 0.1 wrote it.
torch checks nothing of what it reads: a flipped bit would be another weight.
"""

from __future__ import annotations

import io
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import torch

from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.errors import Refused
from trainables.train import Diverged, Trial

Status = Literal["running", "complete", "diverged"]
MAGIC = b"study checkpoint 1\n"
DIGEST_BYTES = 16


class Damaged(Exception):
    """A checkpoint cannot be gone on from, and why."""


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
    One that is damaged costs a warning too, and the trial starts over.
    """

    def __init__(self, config: TrialConfig, splits: Splits, folder: Path, *, test: bool, every: float = 5.0) -> None:
        self.trial = Trial(config, splits)
        self.path, self.test, self.every = folder / "checkpoint.pt", test, every
        self.saved_at = time.monotonic()
        self.unsent = 0  # rows before this one were handed out by this process
        self.warning: str | None = None  # for the next call of `advance`
        try:
            self._load()
        except Damaged as damage:
            self.trial = Trial(config, splits)  # what was loaded before the damage showed goes with the old one
            self._clear()
            self.warning = f"{self.path} cannot be used ({damage}); its trial starts over"

    def advance(self) -> Progress:
        """Train one epoch, or only test if none is left. After a restart, earlier rows are handed out again."""
        began = time.monotonic()
        try:
            if not self.trial.finished:
                self.trial.run_epoch()
            final = self.trial.run_test() if self.test and self.trial.finished else {}
        except Diverged as end:
            last = Progress("diverged", self._rows(), step=end.step, reason=end.reason)
            return replace(last, seconds=time.monotonic() - began, warning=self._warning())
        seconds = time.monotonic() - began
        if self.trial.finished:
            return Progress("complete", self._rows(), final, seconds=seconds, warning=self._warning())
        failed = self._save() if time.monotonic() - self.saved_at >= self.every else None
        return Progress("running", self._rows(), seconds=seconds, warning=self._warning() or failed)

    def _rows(self) -> list[tuple[int, dict[str, float]]]:
        rows = list(enumerate(self.trial.rows, start=1))[self.unsent :]
        self.unsent = len(self.trial.rows)
        return rows

    def _warning(self) -> str | None:
        """What is to be said, once."""
        warning, self.warning = self.warning, None
        return warning

    def _load(self) -> None:
        """Go on from the newest checkpoint, if there is one. Raises Damaged; the trial may then be half of each."""
        try:
            if not self.path.is_file():
                if os.path.lexists(self.path):
                    raise Damaged("it is no file")
                return
            content = memoryview(self.path.read_bytes())
        except OSError as error:
            raise Damaged(error.strerror or "it cannot be read") from None
        if content[: len(MAGIC)] == MAGIC:
            digest, content = content[len(MAGIC) :][:DIGEST_BYTES], content[len(MAGIC) + DIGEST_BYTES :]
            if digest != _digest(content):
                raise Damaged("its checksum is not that of what it holds")
        try:
            state = torch.load(io.BytesIO(content), map_location=self.trial.device, weights_only=True)
            self.trial.load_state_dict(state)
        except Refused:
            raise Damaged("it is another trial's") from None
        except Exception as error:  # torch raises whatever the damage leads to
            raise Damaged(f"{type(error).__name__} where its state is loaded") from None

    def _clear(self) -> None:
        """Out of the way of the next checkpoint, and of the next process, which need not say so again."""
        with suppress(OSError):
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink()

    def _save(self) -> str | None:
        """Write a checkpoint; returns a warning if that cannot be done."""
        self.saved_at = time.monotonic()
        whole = io.BytesIO()
        torch.save(self.trial.state_dict(), whole)
        partial = self.path.with_suffix(f".{os.getpid()}")  # a worker that a killed driver left may still write
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(MAGIC + _digest(whole.getbuffer()))
                file.write(whole.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            return f"checkpoints cannot be written in {self.path.parent.parent} ({error.strerror}); trials go on"
        return None


def _digest(content: memoryview) -> bytes:
    return blake2b(content, digest_size=DIGEST_BYTES).digest()
