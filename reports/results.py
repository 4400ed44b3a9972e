"""All that a report shows, read once from the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.statistics import Verdict, arm_of, batch_size_of, confirmed, gap_table, trained, verdict

if TYPE_CHECKING:
    from study.store import Store

TRIAL_COLUMNS = ("run_id", "cell", "arm", "batch_size", "phase", "seed", "status")


@dataclass(frozen=True)
class Results:
    """A study as far as it has come."""

    name: str
    question: str
    baseline: str  # a cell
    cells: tuple[str, ...]  # as the spec orders them, also those that nothing has run in
    environment: dict[str, Any]
    trials: pd.DataFrame  # a row a trial, at least TRIAL_COLUMNS
    searched: dict[str, tuple[str, ...]]  # cell → the keys its search tunes
    curve_metric: str  # the accuracy that `curves` follows
    curves: pd.DataFrame  # run_id, epoch, value of the confirm trials
    gaps: pd.DataFrame  # study.statistics.gap_table
    verdict: Verdict
    claims: tuple[str, ...] = ()  # that the study is to judge
    found: dict[str, dict[str, object]] = field(default_factory=dict)  # cell → its own run's tags and metrics
    repeats: dict[str, tuple[str, ...]] = field(default_factory=dict)  # cell → further searches of it
    confirmed_anywhere: pd.DataFrame = field(default_factory=pd.DataFrame)  # confirm trials, those of repeats too
    store: Store | None = None  # to read further histories from
    _read: dict[str, pd.DataFrame] = field(default_factory=dict)  # histories by metric, once read

    @property
    def trained(self) -> bool:
        """Whether any trial was meant to train beyond its first epoch."""
        return trained(self.trials)

    def history(self, metrics: Sequence[str]) -> pd.DataFrame:
        """Metrics of the confirm trials by epoch: columns arm, batch_size, seed, status, metric, epoch, value.

        Costs the store a request for each trial and metric (1.5 ms with SQLite).
        """
        trials = self.confirmed[["run_id", "arm", "batch_size", "seed", "status"]]
        for metric in metrics:
            if metric not in self._read and self.store is not None:
                holders = self.confirmed.dropna(subset=metric) if metric in self.confirmed else self.confirmed.iloc[:0]
                self._read[metric] = self.store.curves(list(holders["run_id"]), [metric])
        parts = [self._read[metric] for metric in metrics if metric in self._read]
        columns = ["run_id", "metric", "epoch", "value"]
        joined = trials.merge(pd.concat(parts) if parts else pd.DataFrame(columns=columns), on="run_id")
        return joined.drop(columns="run_id").sort_values(["metric", "arm", "batch_size", "seed", "epoch"])

    @property
    def arms(self) -> list[str]:
        """In the spec's order."""
        return list(dict.fromkeys(map(arm_of, self.cells)))

    @property
    def batch_sizes(self) -> list[int]:
        """From small to large."""
        return sorted(set(map(batch_size_of, self.cells)))

    @property
    def confirmed(self) -> pd.DataFrame:
        """The confirm trials that count."""
        return confirmed(self.trials)

    @property
    def search(self) -> pd.DataFrame:
        """The search trials."""
        return self.trials[self.trials["phase"] == "search"]


def read(store: Store) -> Results:
    """Everything a report needs. Raises Refused where the store describes no cells or no baseline."""
    facts, everything = store.facts(), _trials(store)
    cells = tuple(filter(None, facts.get("cells", "").split(",")))
    repeats = tuple(filter(None, facts.get("repeats", "").split(",")))
    trials = everything[~everything["cell"].isin(repeats)]
    found = _found(store)
    baseline = facts.get("baseline", "")
    gaps = gap_table(trials, baseline, cells)
    confirm = confirmed(trials)
    validated = "val/accuracy" in confirm and bool(confirm["val/accuracy"].notna().any())
    metric = "val/accuracy" if validated else "train/accuracy"
    return Results(
        name=store.experiment,
        question=facts.get("question", ""),
        baseline=baseline,
        cells=cells,
        environment=json.loads(facts.get("environment") or "{}"),
        trials=trials,
        searched={
            cell: tuple(filter(None, str(known.get("searched") or "").split(","))) for cell, known in found.items()
        },
        curve_metric=metric,
        curves=store.curves(list(confirm["run_id"]), [metric])[["run_id", "epoch", "value"]],
        gaps=gaps,
        verdict=verdict(trials, baseline, cells),
        claims=tuple(filter(None, facts.get("claims", "").split(","))),
        store=store,
        found=found,
        repeats=_repeats(repeats),
        confirmed_anywhere=confirmed(everything),
    )


def _trials(store: Store) -> pd.DataFrame:
    trials = store.trials()
    if trials.empty:
        return pd.DataFrame(columns=list(TRIAL_COLUMNS))
    # From the cell's name, as the store would read an arm called "10" as a number.
    return trials.assign(arm=trials["cell"].map(arm_of), batch_size=trials["cell"].map(batch_size_of))


def _found(store: Store) -> dict[str, dict[str, object]]:
    """The tags and metrics of each cell's own run, without what it does not have."""
    cells = store.cells()
    rows = cells.to_dict("records") if "cell" in cells else []
    return {str(row["cell"]): {str(key): x for key, x in row.items() if x == x and x is not None} for row in rows}


def _repeats(cells: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`("sgd~1/32", "sgd~2/32")` → `{"sgd/32": ("sgd~1/32", "sgd~2/32")}`."""
    found: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        home = f"{arm_of(cell).rpartition('~')[0]}/{batch_size_of(cell)}"
        found[home] = (*found.get(home, ()), cell)
    return found
