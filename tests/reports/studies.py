"""Made-up studies in a real store, by its own writing half. None of these numbers was ever measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from study.schema import CellEnd, CellRun, Study, TrialEnd, TrialRun
from study.store import Store, default_uri

EPOCHS = 6
LEVEL = {"sgd": 0.93, "lars": 0.92, "mclr": 0.90}  # accuracy at batch size 32
LOSS = {"sgd": 0.022, "lars": 0.006, "mclr": 0.015}  # of accuracy, per doubling
KEYS = ("optimizer/gamma", "optimizer/momentum", "schedule/name", "schedule/warmup_epochs")
ENVIRONMENT = {"python": "3.11.9", "torch": "2.11.0+cpu", "machine": "made up, 2 cores", "search seed": 0}


@dataclass
class MadeUp:
    """A study to invent; each field is one way in which studies differ."""

    name: str
    cells: tuple[str, ...]
    search: int = 3  # trials a cell; the last diverges, the one before it is pruned
    seeds: int = 3
    validation: bool = True
    dead: tuple[str, ...] = ()  # cells where every trial diverges
    untouched: tuple[str, ...] = ()  # cells that nothing has run in
    unlucky: dict[str, int] = field(default_factory=dict)  # cell → its confirm seed that diverges
    running: tuple[str, ...] = ()  # cells whose last confirm seed still runs
    repeats: tuple[str, ...] = ()  # further searches, as sgd~1/32
    edge: str = ""  # the alarm of every cell that searches
    question: str = "Does layer-wise scaling close the gap of large batches on made-up data?"


def invent(study: MadeUp, directory: Path) -> Store:
    """The study in a store; several may share the directory."""
    store = Store(default_uri(directory), study.name, create=directory)
    store.describe(
        Study(
            question=study.question, baseline=study.cells[0], cells=study.cells, repeats=study.repeats,
            environment=ENVIRONMENT, spec="name: [cut off",
        )
    )  # fmt: skip
    for cell in (*study.cells, *study.repeats):
        if cell not in study.untouched:
            _Cell(store, study, cell).fill()
    return store


class _Cell:
    def __init__(self, store: Store, study: MadeUp, cell: str) -> None:
        self.store, self.study, self.cell = store, study, cell
        self.arm, _, self.size = cell.rpartition("/")
        self.draw = np.random.default_rng(list(cell.encode()))
        self.keys = KEYS if study.search else ()
        self.tags: dict[str, Any] = {"cell": cell, "arm": self.arm, "batch_size": int(self.size), "searched": self.keys}

    def fill(self) -> None:
        parent = self.store.open_run(None, self.cell, CellRun(**self.tags), {}, None)
        dead = self.cell in self.study.dead
        for number in range(self.study.search):
            ends = {self.study.search - 1: "diverged", self.study.search - 2: "pruned"}.get(number, "complete")
            gamma = 10.0 ** (number - 2)
            self.trial(parent.run_id, "search", number, "diverged" if dead else ends, gamma)
        for seed in range(0 if dead and self.study.search else self.study.seeds):
            ends = "diverged" if dead or self.study.unlucky.get(self.cell) == seed else "complete"
            last = seed == self.study.seeds - 1
            self.trial(
                parent.run_id, "confirm", seed, "running" if last and self.cell in self.study.running else ends, 0.3
            )
        found = {"search/trials": self.study.search, "search/val_accuracy": 0.95, "gap/winner": 0.012,
                 "gap/winner_low": 0.002, "gap/winner_high": 0.022}  # fmt: skip
        edges = (self.study.edge,) if self.study.edge else ()
        end = CellEnd(boundary=edges, pruning="median") if self.study.search else CellEnd()
        self.store.close(parent, end, found if self.study.search else {}, ok=True)

    def trial(self, parent: str, phase: str, number: int, ends: str, gamma: float) -> None:
        tags = TrialRun(**self.tags, phase=phase, trial=number, seed=100 + number, git_commit="0123abc")
        params = {"epochs": EPOCHS, "optimizer/gamma": gamma, "optimizer/momentum": 0.9,
                  "schedule/name": "cosine", "schedule/warmup_epochs": 0.25 * number}  # fmt: skip
        record = self.store.open_run(None, f"{phase}-{number}", tags, params, parent)
        accuracy = self.accuracy()
        rise = [accuracy * (1 - 0.8 * 0.45**epoch) for epoch in range(1, 1 + (EPOCHS if ends == "complete" else 3))]
        self.store.log(record, [(epoch, self.metrics(value)) for epoch, value in enumerate(rise, 1)])
        if ends != "running":
            tested = {"test/accuracy": accuracy, "test/loss": 0.3, "test/chance": 0.12, "gap/train_test": 0.04}
            final = tested if ends == "complete" and phase == "confirm" else {}
            self.store.close(record, TrialEnd(status=ends), {**final, "time/train_seconds": 12.5}, ok=True)

    def accuracy(self) -> float:
        drop = LOSS.get(self.arm.partition("~")[0], 0.01) * np.log2(int(self.size) / 32)
        return float(LEVEL.get(self.arm.partition("~")[0], 0.9) - drop + self.draw.normal(0, 0.004))

    def metrics(self, value: float) -> dict[str, Any]:
        validation = {"val/loss": 1.9 - value, "val/accuracy": value} if self.study.validation else {}
        return {"train/loss": 2 - value, "train/accuracy": value + 0.03, **validation}
