"""All that a report shows, read once from the store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.statistics import Verdict, arm_of, batch_size_of, confirmed, gap_table, verdict

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
    facts, trials = store.facts(), _trials(store)
    cells = tuple(filter(None, facts.get("cells", "").split(",")))
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
        searched=_searched(store),
        curve_metric=metric,
        curves=store.curves(list(confirm["run_id"]), [metric])[["run_id", "epoch", "value"]],
        gaps=gaps,
        verdict=verdict(trials, baseline, cells),
    )


def _trials(store: Store) -> pd.DataFrame:
    trials = store.trials()
    if trials.empty:
        return pd.DataFrame(columns=list(TRIAL_COLUMNS))
    # From the cell's name, as the store would read an arm called "10" as a number.
    return trials.assign(arm=trials["cell"].map(arm_of), batch_size=trials["cell"].map(batch_size_of))


def _searched(store: Store) -> dict[str, tuple[str, ...]]:
    cells = store.cells()
    if "searched" not in cells:
        return {}
    tags = zip(cells["cell"], cells["searched"], strict=True)
    return {cell: tuple(filter(None, tag.split(","))) for cell, tag in tags if isinstance(tag, str)}
