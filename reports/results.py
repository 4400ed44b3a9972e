"""All that a report shows, read once from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.cell_name import RECORD, CellName
from study.findings import Findings
from study.schema import Summary
from study.statistics import arm_of, batch_size_of, confirmed, in_reading, trained
from study.versions import changes, recorded

if TYPE_CHECKING:
    from study.store import Store

TRIAL_COLUMNS = ("run_id", "cell", "arm", "batch_size", "phase", "seed", "status")


@dataclass(frozen=True, kw_only=True)
class Results(Findings):
    """A study as far as it has come; `trials` have at least TRIAL_COLUMNS."""

    name: str
    question: str
    environment: dict[str, Any]  # of the last run; of a package whose version changed, all of them
    searched: dict[str, tuple[str, ...]]  # cell → the keys its search tunes
    curve_metric: str  # the accuracy that `curves` follows
    curves: pd.DataFrame  # run_id, epoch, value of the confirm trials
    claims: tuple[str, ...] = ()  # that the study is to judge
    summaries: dict[str, Summary] = field(default_factory=dict)  # of the cells that were begun
    repeats: dict[str, tuple[str, ...]] = field(default_factory=dict)  # cell → further searches of it
    confirmed_anywhere: pd.DataFrame = field(default_factory=pd.DataFrame)  # confirm trials, those of repeats too
    readings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # what each other one sets, by leaf path
    stated: Mapping[str, Any] = field(default_factory=dict)  # what the reading of record has in their place
    elsewhere: pd.DataFrame = field(default_factory=pd.DataFrame)  # the trials of the other readings
    reading_name: str = RECORD  # the reading whose trials these are
    spec: str = ""  # resolved, as YAML
    unequal: str = ""  # says where arms search spaces of unequal size
    store: Store | None = None  # to read further histories from
    _read: dict[str, pd.DataFrame] = field(default_factory=dict)  # histories by metric, once read
    _readings: dict[str, Results] = field(default_factory=dict)  # the other readings by name, once made

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
    def under_way(self) -> bool:
        """Whether a trial has begun and not ended."""
        return bool((self.trials["status"] == "running").any())

    @property
    def arms(self) -> list[str]:
        """In the spec's order."""
        return list(dict.fromkeys(map(arm_of, self.cells)))

    @property
    def batch_sizes(self) -> list[int]:
        """From small to large."""
        return sorted(set(map(batch_size_of, self.cells)))

    @property
    def search(self) -> pd.DataFrame:
        """The search trials."""
        return self.trials[self.trials["phase"] == "search"]

    def reading(self, name: str) -> Results:
        """The study in another reading, its cells called as their twins of record; without curves and searches."""
        if name not in self._readings:
            self._readings[name] = self._in(name)
        return self._readings[name]

    def _in(self, name: str) -> Results:
        trials = in_reading(self.elsewhere, name)
        nothing = self.elsewhere.iloc[:0]
        return replace(
            self, trials=trials, curves=self.curves.iloc[:0], summaries={}, repeats={},
            confirmed_anywhere=confirmed(trials), readings={}, elsewhere=nothing, _read={}, _readings={},
            reading_name=name,
        )  # fmt: skip

    @property
    def gaps_elsewhere(self) -> pd.DataFrame:
        """The gap tables of the other readings below each other, each cell against the baseline in its own reading."""
        tables = {name: there.gaps for name in self.readings if len((there := self.reading(name)).trials)}
        return pd.concat(tables, names=["reading"]).reset_index("reading") if tables else pd.DataFrame()


def read(store: Store) -> Results:
    """Everything a report needs. Raises Refused where the store describes no cells or no baseline."""
    about, everything = store.study(), _trials(store)
    repeats, baseline = about.repeats, about.baseline
    cells = tuple(cell for cell in about.cells if CellName.parse(cell).reading == RECORD)
    single = everything[~everything["cell"].isin(repeats)]
    trials = in_reading(single, RECORD)
    summaries = store.summaries()
    confirm = confirmed(trials)
    validated = "val/accuracy" in confirm and bool(confirm["val/accuracy"].notna().any())
    metric = "val/accuracy" if validated else "train/accuracy"
    return Results(
        name=store.experiment,
        question=about.question,
        baseline=baseline,
        cells=cells,
        environment={**about.environment, **changes(recorded(about))},
        trials=trials,
        searched={cell: summary.run.searched for cell, summary in summaries.items()},
        curve_metric=metric,
        curves=store.curves(list(confirm["run_id"]), [metric])[["run_id", "epoch", "value"]],
        margin=about.margin,
        looked=store.standing().looked,
        claims=about.claims,
        store=store,
        summaries=summaries,
        spec=about.spec,
        unequal=about.unequal,
        repeats=_repeats(repeats),
        confirmed_anywhere=confirmed(everything),
        readings={name: sets for name, sets in about.readings.items() if name != RECORD},
        stated=about.readings.get(RECORD, {}),
        elsewhere=single[~single.index.isin(trials.index)],
    )


def _trials(store: Store) -> pd.DataFrame:
    trials = store.trials()
    if trials.empty:
        return pd.DataFrame(columns=list(TRIAL_COLUMNS))
    return trials


def _repeats(cells: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`("sgd~1/32", "sgd~2/32")` → `{"sgd/32": ("sgd~1/32", "sgd~2/32")}`."""
    repeats: dict[str, tuple[str, ...]] = {}
    for cell in cells:
        home = str(CellName.parse(cell).home)
        repeats[home] = (*repeats.get(home, ()), cell)
    return repeats
