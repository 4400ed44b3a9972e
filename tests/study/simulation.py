"""A study without training: curves that are a formula of the parameters, trials that advance and end in any order."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from study.ledger import Ledger
from study.outcome import Outcome
from study.plan import Assignment, cells
from study.spec import Spec
from study.storage import open_storage

Row = tuple[int, dict[str, float]]


def rate(assignment: Assignment) -> float:
    return getattr(assignment.config.optimizer, assignment.config.optimizer.rate)


def curve(assignment: Assignment, best: float = 0.01) -> list[Row]:
    """Accuracy that rises with the epochs, to the more the nearer the rate is to `best`."""
    top = 1 / (1 + abs(math.log10(rate(assignment) / best)))
    epochs = assignment.config.epochs
    return [
        (epoch, {"val/accuracy": top * epoch / epochs, "val/loss": 1 - top, "train/loss": 1 - top})
        for epoch in range(1, epochs + 1)
    ]


def run(
    path: Path,
    spec: Spec,
    slots: int,
    order: random.Random,
    *,
    stop_after: int | None = None,
    follow: Callable[[Assignment], list[Row]] = curve,
) -> Ledger:
    """Advance one of `slots` trials an epoch at a time, drawn by `order`; stop after so many epochs, as if killed."""
    ledger = Ledger(open_storage(path), spec, cells(spec))
    live: dict[str, tuple[Assignment, int]] = {}
    done = 0
    while not ledger.done or live:
        while len(live) < slots and (found := ledger.next()) is not None:
            live[found.folder] = found, 0
        folder = order.choice(sorted(live))
        assignment, epoch = live[folder]
        rows = follow(assignment)[: epoch + 1]
        outcome = ledger.stops(assignment, rows[-1:])
        if outcome is None and epoch + 1 == assignment.config.epochs:
            outcome = Outcome("complete", {key: rows[-1][1][key] for key in ("val/accuracy", "val/loss")})
        if outcome is not None:
            ledger.finish(assignment, outcome, rows)
            del live[folder]
        else:
            live[folder] = assignment, epoch + 1
        done += 1
        if done == stop_after:
            return ledger
    return ledger


def story(ledger: Ledger) -> dict[str, object]:
    """All that a study is: parameters, values, states, epochs by cell, and what was confirmed."""
    return {
        name: (
            [(t.number, t.params, t.value, t.state.name, t.intermediate_values) for t in cell.trials],
            [t.config.hash() for t in cell.confirm()],
            sorted(cell.ended_confirms),
        )
        for name, cell in ledger.cells.items()
    }


def confirm_trials(cells: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """{cell: test accuracies by seed} as the store's trials."""
    rows = [
        {"cell": cell, "phase": "confirm", "seed": seed, "status": "complete"}
        | {"test/accuracy": value, "val/accuracy": value}
        for cell, values in cells.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)
