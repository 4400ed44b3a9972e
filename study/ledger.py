"""The ledger: every cell's search and confirm phase in one queue, so that no slot idles at a cell's edge."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.storages import BaseStorage

from study import boundary
from study.cell_name import RECORD
from study.outcome import Outcome
from study.plan import Assignment, Cell
from study.search import CellSearch, Rows
from study.spec import Spec


class Ledger:
    """All cells' trials: what has ended, what runs, and what comes next."""

    def __init__(self, storage: BaseStorage, spec: Spec, plan: Sequence[Cell]) -> None:
        self.cells = {cell.name: CellSearch(storage, spec, cell) for cell in plan}
        for search in self.cells.values():
            if search.cell.source is not None:
                search.source = self.cells[search.cell.source.cell]
        self._widen()
        self.started: dict[str, Assignment] = {}  # by folder, in this process

    def next(self) -> Assignment | None:
        """A trial to start now: first what another process left, then of the cell whose turn it is; or None."""
        self._widen()
        if waiting := self.waiting:
            return self._start(waiting[0])
        for cell in sorted(self.cells.values(), key=self._turn):
            trial = cell.next_search() or self._next_confirm(cell)
            if trial is not None:
                return self._start(trial)
        return None

    @property
    def waiting(self) -> list[Assignment]:
        """Search trials that another process began and that are still to be handed out by this one."""
        return [trial for cell in self.cells.values() for trial in cell.left()]

    def _next_confirm(self, cell: CellSearch) -> Assignment | None:
        waiting = (t for t in cell.confirm() if t.folder not in self.started and not cell.confirmed(t))
        return next(waiting, None)

    @property
    def done(self) -> bool:
        """Whether nothing is left to hand out: all search and confirm trials have ended, or were tried and failed."""
        return all(
            cell.decided and all(t.folder in self.started or cell.confirmed(t) for t in cell.confirm())
            for cell in self.cells.values()
        )

    def recall(self) -> None:
        """After the storage was away: what it stored although its answer was lost is handed out after all."""
        for cell in self.cells.values():
            cell.forget()

    def ended(self) -> list[Assignment]:
        """Every trial that has ended, the confirm trials of a superseded configuration left out."""
        return [
            assignment
            for cell in self.cells.values()
            for assignment in (
                *(cell.assignment(trial) for trial in cell.trials if trial.state.is_finished()),
                *(trial for trial in cell.confirm() if cell.confirmed(trial)),
            )
        ]

    def finish(self, assignment: Assignment, outcome: Outcome, rows: Rows) -> None:
        """Record how a trial ended, with its metrics by epoch."""
        self.cells[assignment.cell.name].finish(assignment, outcome, rows)
        self._widen()

    def stops(self, assignment: Assignment, rows: Rows) -> Outcome | None:
        """How a running trial ends if its pruner stops it, given its new `rows`."""
        return self.cells[assignment.cell.name].stops(assignment, rows)

    def _widen(self) -> None:
        """Rounds of wider ranges and more trials, while any best lies at the end of a range.

        All cells of a reading have the same rounds, whatever the other readings need, and whether they are run at all.
        """
        for reading in dict.fromkeys(cell.cell.reading for cell in self.cells.values()):
            _widen([cell for cell in self.cells.values() if cell.cell.reading == reading])

    def _start(self, assignment: Assignment) -> Assignment:
        self.cells[assignment.cell.name].hand_out(assignment)
        self.started[assignment.folder] = assignment
        return assignment

    def _turn(self, cell: CellSearch) -> tuple[bool, int, int]:
        """The least comes first: the reading of record, then the cell with the fewest trials, then small batches."""
        confirms = sum(t.folder in self.started or cell.confirmed(t) for t in cell.confirm())
        return cell.cell.reading != RECORD, len(cell.trials) + confirms, cell.cell.batch_size


def _widen(cells: Sequence[CellSearch]) -> None:
    searching = [cell for cell in cells if cell.searching]
    while searching and all(cell.searched for cell in searching):
        if searching[0].rounds >= boundary.ROUNDS or not any(cell.wants_widening for cell in searching):
            for cell in cells:
                cell.settle()
            return
        for cell in searching:
            cell.add_round()
