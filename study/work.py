"""What the engine works off: trials from the ledger, and what becomes of them for recorder, ledger and display."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from study.ledger import Ledger
from study.outcome import Outcome
from study.patience import Patience
from study.plan import Assignment
from study.progress import Display
from study.recorder import Ended, Recorder
from trainables.errors import bounded
from trainables.settings import nearest


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: the study stopped before its end, and can go on."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C inside stays one, where a library's clean-up fails on it and raises an error of its own.

    Optuna's file lock does: interrupted while it is taken, it says that it was not possessed.
    """
    try:
        yield
    except Exception as error:
        if any(isinstance(each, KeyboardInterrupt) for each in _chain(error)):
            raise Interrupted from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, the one during whose handling it was raised, and so on."""
    while error is not None:
        yield error
        error = error.__context__


class Work:
    """The engine's source: trials from the ledger, what they report to the recorder and the display.

    A trial ends in the search once the store holds it whole. While the search's storage is away, no trial starts.
    """

    def __init__(
        self, ledger: Ledger, recorder: Recorder, display: Display, patience: Patience, folder: Path,
        check: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`check` raises Gone where the study is lost to another driver; then so does all but construction."""
        self._check = check
        self.ledger, self.recorder, self.display, self.patience, self.folder = (
            ledger, recorder, display, patience, folder
        )  # fmt: skip
        self.patience.again = ledger.recall
        self.failures: list[tuple[str, str]] = []  # folders and reasons
        self.busy = 0.0  # seconds that slots trained and evaluated
        self.last = time.monotonic()  # when the last trial ended
        self.warned: set[str] = set()
        self.unreported: set[str] = set()  # metrics that constraints are on

    @property
    def done(self) -> bool:
        return not self.patience.away and bool(self.patience.once(lambda: self.ledger.done))

    def next(self) -> Assignment | None:
        """A trial to start now, or None."""
        self._check()
        assignment = self.patience.once(self._next)
        if assignment is None and not self.recorder.live:  # nothing trains: it may wait for what is being written
            self.recorder.writer.wait(0.5)
            assignment = self.patience.once(self._next)
        return assignment

    def started(self, assignment: Assignment) -> None:
        self._check()
        self.recorder.start(assignment)
        self.display.trial_started(assignment)

    def report(self, folder: str, rows: list[tuple[int, dict[str, float]]]) -> Outcome | None:
        """Metrics by epoch; the outcome of a trial that should stop there."""
        self._check()
        assignment = self.recorder.live[folder].assignment
        outcome = self.patience.retry(lambda: self.ledger.stops(assignment, rows))
        last = outcome.step if outcome else None
        self.recorder.report(folder, [row for row in rows if last is None or row[0] <= last])
        if self.recorder.error is not None:
            raise self.recorder.error
        return outcome

    def placed(self, folder: str, host: str, device: str) -> None:
        """Where a trial runs: its machine, and on what there."""
        self.recorder.placed(folder, host, device)

    def note(self, seconds: float, warning: str | None) -> None:
        """What a slot spent on training since it last said so, and what went wrong beside it."""
        self.busy += seconds
        if warning is not None and warning not in self.warned:
            self.warned.add(warning)
            self.display.say(warning)

    def say(self, text: str) -> None:
        """Tell the user."""
        self.display.say(text)

    def end(self, folder: str, outcome: Outcome) -> None:
        self._check()
        self.display.trial_stopped(self.recorder.live[folder].assignment)
        self.recorder.end(folder, outcome)
        self.last = time.monotonic()

    @property
    def complete(self) -> bool:
        """Whether every trial was handed out and has ended."""
        return self.ledger.done and not self.recorder.live

    def close(self) -> None:
        """Wait until the store and then the search hold all that ended.

        Raises Interrupted after Ctrl-C where one of them is away.
        """
        self.recorder.close(patient=self.complete)
        if not self.complete and (self.patience.away or self.recorder.patience.away):
            raise Interrupted
        self.patience.retry(self._settle)

    @property
    def share(self) -> float:
        """Of the time that all slots had from start-up to the last trial's end, what they trained and evaluated.

        Where none has ended, as after an early Ctrl-C, up to now.
        """
        until = self.last if self.last > self.display.began else time.monotonic()
        return self.busy / max(1e-9, (until - self.display.began) * (self.display.slots or 1))

    def _next(self) -> Assignment | None:
        self._settle()
        return self.ledger.next()

    def _name_unreported(self, ended: Ended) -> None:
        """Say, once, which constraints are on metrics that nobody reports: probes alone know what theirs are called."""
        if ended.assignment.phase != "search" or ended.outcome.status != "complete":
            return
        row = ended.rows[-1][1] if ended.rows else {}
        for key in self.ledger.cells[ended.assignment.cell.name].spec.search.constraints:
            if key not in row and key not in self.unreported:
                self.unreported.add(key)
                said = f"search/constraints: {key} is not reported, and counts as broken; {nearest(key, row)}"
                self.display.say(bounded(said))

    def _settle(self) -> None:
        """Trials that the store holds whole end in the search too."""
        while self.recorder.held:
            ended = self.recorder.held[0]
            self.ledger.finish(ended.assignment, ended.outcome, ended.rows)
            count = self.ledger.cells[ended.assignment.cell.name].count()
            self.recorder.held.popleft()  # from here on nothing asks the storage: what fails before is done again
            if ended.outcome.status == "failed":
                self.failures.append((ended.assignment.folder, ended.outcome.reason or ""))
            self.display.trial_ended(ended.assignment, ended.outcome, ended.seconds, count)
            self._name_unreported(ended)
            shutil.rmtree(self.folder / ended.assignment.folder, ignore_errors=True)
        if self.recorder.error is not None:
            raise self.recorder.error
