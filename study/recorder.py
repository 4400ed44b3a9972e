"""The recorder: what trials report, into the store and then the search's storage.

Always in that order: a trial counts as ended only once MLflow holds all of it, so a kill in between costs at most a
repeated last epoch, never a hole.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from study.plan import Assignment, Cell
from study.search import Ledger, Outcome
from study.store import Record, Store
from trainables.errors import Refused

FLUSH_SECONDS = 5.0  # between writes of a running trial's metrics


@dataclass
class Live:
    """A trial that runs in this process's charge."""

    assignment: Assignment
    flushed: float
    rows: dict[int, Mapping[str, float]] = field(default_factory=dict)  # by epoch
    record: Record | None = None


class Recorder:
    """Writes every trial once."""

    def __init__(self, store: Store, ledger: Ledger, git_commit: str) -> None:
        self.store, self.ledger, self.git_commit = store, ledger, git_commit
        self.known = store.runs()
        self._check_complete()
        self.live: dict[str, Live] = {}
        self.parents = {name: self._open_cell(cell.cell) for name, cell in ledger.cells.items()}

    def start(self, assignment: Assignment) -> None:
        self.live[assignment.folder] = Live(assignment, time.monotonic())

    def report(self, folder: str, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Metrics by epoch of a running trial; epochs that were reported before are ignored."""
        live = self.live[folder]
        for epoch, row in rows:
            live.rows.setdefault(epoch, row)
        if time.monotonic() - live.flushed > FLUSH_SECONDS:
            self._flush(live)

    def end(self, folder: str, outcome: Outcome) -> float:
        """The trial has ended; returns the seconds it trained."""
        live = self.live.pop(folder)
        record = self._flush(live)
        tags: dict[str, str] = {"status": outcome.status}
        if outcome.step is not None:
            tags["pruned_epoch" if outcome.status == "pruned" else "diverged_step"] = str(outcome.step)
        if outcome.reason is not None:
            tags["reason"] = outcome.reason[:4000]
        self.store.close(record, tags, outcome.metrics, ok=outcome.status != "failed")
        self.ledger.finish(live.assignment, outcome, sorted(live.rows.items()))
        return sum(row.get("time/train_seconds", 0.0) for row in live.rows.values())

    def _flush(self, live: Live) -> Record:
        if live.record is None:
            live.record = self._open_trial(live.assignment)
        self.store.log(live.record, sorted(live.rows.items()))
        live.flushed = time.monotonic()
        return live.record

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
        return self.store.open_run(known, cell.name, {**_cell_tags(cell), "phase": "cell"}, {}, None)

    def _open_trial(self, assignment: Assignment) -> Record:
        identity = assignment.config.hash()
        tags = {
            **_cell_tags(assignment.cell), "phase": assignment.phase, "trial": str(assignment.number),
            "seed": str(assignment.config.seed), "status": "running", "config_hash": identity,
            "git_commit": self.git_commit,
        }  # fmt: skip
        known = self.known.get((assignment.cell.name, assignment.phase, identity))
        parent = self.parents[assignment.cell.name].run_id
        return self.store.open_run(known, assignment.folder, tags, assignment.config.flat(), parent)


def _cell_tags(cell: Cell) -> dict[str, str]:
    tags = {"cell": cell.name, "arm": cell.arm, "batch_size": str(cell.batch_size), "searched": ",".join(cell.space)}
    return tags | ({"repeat": str(cell.repeat)} if cell.repeat else {})
