"""The recorder: what trials report, into the store and then the search's storage.

Always in that order: a trial counts as ended only once MLflow holds all of it, so a kill in between costs at most a
repeated last epoch, never a hole. A thread of its own does the writing, so that neither a slow store nor one that is
away for a while holds training up.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from study.ledger import Ledger
from study.outcome import Outcome
from study.patience import Patience, Writer
from study.plan import Assignment, Cell
from study.schema import CellRun, TrialEnd, TrialRun
from study.store import Record, Rows, Store
from trainables.errors import Refused

FLUSH_SECONDS = 5.0  # between writes of a running trial's metrics


@dataclass
class Live:
    """A trial that runs in this process's charge."""

    assignment: Assignment
    flushed: float
    rows: dict[int, Mapping[str, float]] = field(default_factory=dict)  # by epoch
    record: Record | None = None
    host: str | None = None  # the machine where it runs, and on what there
    device: str | None = None

    @property
    def seconds(self) -> float:
        """That it trained."""
        return sum(row.get("time/train_seconds", 0.0) for row in self.rows.values())


@dataclass(frozen=True)
class Ended:
    """A trial that the store holds whole, and that is yet to end in the search."""

    assignment: Assignment
    outcome: Outcome
    rows: Rows
    seconds: float


class Recorder:
    """Writes every trial once, with patience where the store is away."""

    def __init__(
        self, store: Store, ledger: Ledger, git_commit: str, patience: Patience,
        check: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`check` raises Gone where the study is lost to another driver; nothing is written then."""
        self._check = check
        self.store, self.ledger, self.git_commit = store, ledger, git_commit
        self.known = store.runs()
        self._check_complete()
        store.hold()
        self.live: dict[str, Live] = {}
        self.parents = {name: self._open_cell(cell.cell) for name, cell in ledger.cells.items()}
        self.held: deque[Ended] = deque()
        self.patience = patience
        patience.again = self._look_again
        self.writer = Writer(patience)

    @property
    def error(self) -> Exception | None:
        """What ended the writing for good."""
        return self.writer.error

    def start(self, assignment: Assignment) -> None:
        self.live[assignment.folder] = Live(assignment, time.monotonic())

    def placed(self, folder: str, host: str, device: str) -> None:
        """Where a running trial runs."""
        self.live[folder].host, self.live[folder].device = host or None, device or None

    def report(self, folder: str, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Metrics by epoch of a running trial; epochs that were reported before are ignored."""
        live = self.live[folder]
        for epoch, row in rows:
            live.rows.setdefault(epoch, row)
        if time.monotonic() - live.flushed > FLUSH_SECONDS:
            live.flushed = time.monotonic()
            self._write(partial(self._flush, live, sorted(live.rows.items())))

    def end(self, folder: str, outcome: Outcome) -> None:
        """The trial has ended: it comes to `held` once the store has all of it."""
        live = self.live.pop(folder)
        self._write(partial(self._end, live, sorted(live.rows.items()), outcome))

    def close(self, *, patient: bool) -> None:
        """Wait until everything is written; unless `patient`, not for a store that is away."""
        while self.writer.jobs and self.error is None and (patient or not self.patience.away):
            self.writer.wait(0.2)
        self.writer.close()

    def _write(self, job: Callable[[], None]) -> None:
        def checked() -> None:
            self._check()
            self.store.check()
            job()

        self.writer.add(checked)

    def _look_again(self) -> None:
        """Read the runs anew: a try that failed may have made one."""
        self.store.check()
        self.known = self.store.runs()

    def _record(self, live: Live) -> Record:
        if live.record is None:
            live.record = self._open_trial(live.assignment)
        return live.record

    def _flush(self, live: Live, rows: Rows) -> None:
        self.store.log(self._record(live), rows)

    def _end(self, live: Live, rows: Rows, outcome: Outcome) -> None:
        end = TrialEnd(
            status=outcome.status,
            pruned_epoch=outcome.step if outcome.status == "pruned" else None,
            diverged_step=outcome.step if outcome.status == "diverged" else None,
            reason=outcome.reason,
            counts=live.assignment.phase == "confirm" and outcome.status == "complete",
            host=live.host,
            device=live.device,
        )
        final = {**outcome.metrics, "time/trial_seconds": live.seconds}
        self.store.close(self._record(live), end, final, ok=outcome.status != "failed", rows=rows)
        self.held.append(Ended(live.assignment, outcome, rows, live.seconds))

    def _check_complete(self) -> None:
        """Raises Refused when the store has lost trials that the search knows to have ended."""
        lost = [
            trial.folder
            for trial in self.ledger.ended()
            if (trial.cell.name, trial.phase, trial.config.hash()) not in self.known
        ]
        if lost:
            rule = f"has lost {len(lost)} trials that had ended, {lost[0]} first"
            raise Refused("store", self.store.uri, rule, "restore it from a copy, or start in another --dir")

    def _open_cell(self, cell: Cell) -> Record:
        known = self.known.get((cell.name, "cell", ""))
        record = self.store.open_run(known, cell.name, CellRun(**_of(cell)), cell.settled, None)
        self.store.log(record, [])  # its parameters, for its metrics come last
        return record

    def _open_trial(self, assignment: Assignment) -> Record:
        identity = assignment.config.hash()
        tags = TrialRun(
            **_of(assignment.cell), phase=assignment.phase, trial=assignment.number, seed=assignment.config.seed,
            config_hash=identity, git_commit=self.git_commit,
        )  # fmt: skip
        known = self.known.get((assignment.cell.name, assignment.phase, identity))
        parent = self.parents[assignment.cell.name].run_id
        return self.store.open_run(known, assignment.folder, tags, assignment.config.flat(), parent)


def _of(cell: Cell) -> dict[str, Any]:
    """The tags that a cell's run and those of its trials share."""
    return {
        "cell": cell.name, "arm": cell.arm, "batch_size": cell.batch_size, "reading": cell.reading,
        "searched": tuple(cell.space), "repeat": cell.repeat or None,
        "tuned_at": cell.source.cell if cell.source else None,
    }  # fmt: skip
