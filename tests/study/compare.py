"""What two directories of the same study must have in common: everything but the clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from mlflow import MlflowClient
from optuna.storages import BaseStorage

from study.storage import open_storage
from study.store import Store, default_uri
from study.stored_study import StoredStudy

CLOCK = ("run_id", "git_commit", "time/train_seconds", "time/trial_seconds")


def trials(folder: Path, name: str = "smoke") -> pd.DataFrame:
    """Every trial without what belongs to the clock."""
    frame = Store(default_uri(folder), name).trials()
    frame = frame.drop(columns=list(CLOCK)).sort_index(axis=1)  # which trial was stored first is the clock's too
    return frame.sort_values(["cell", "phase", "trial"]).reset_index(drop=True)


def histories(
    folder: Path, name: str = "smoke", uri: str | None = None
) -> dict[tuple[str, ...], list[tuple[int, float]]]:
    """Every metric of every trial by step, as MLflow holds it: a step twice or missing shows."""
    client = MlflowClient(uri or default_uri(folder))
    experiment = client.get_experiment_by_name(name)
    found = {}
    for run in client.search_runs([experiment.experiment_id], "tags.phase != 'cell'", max_results=1000):
        tags = run.data.tags
        for key in run.data.metrics:
            if not key.startswith("time/"):
                points = client.get_metric_history(run.info.run_id, key)
                place = (tags["cell"], tags["phase"], tags["trial"], tags["config_hash"], key)
                found[place] = sorted((point.step, point.value) for point in points)
    return found


def optuna_trials(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every Optuna trial of every cell that counts, by its own number."""
    return searched(open_storage(folder / "optuna.journal"))


def searched(storage: BaseStorage, prefix: str = "") -> dict[str, list[tuple[Any, ...]]]:
    """As `optuna_trials`, of the Optuna studies whose name begins so, under the rest of it."""
    return {
        name.removeprefix(prefix): [
            (trial.number, trial.params, trial.value, trial.state.name, trial.intermediate_values)
            for trial in StoredStudy(storage, name).trials
        ]
        for name in (summary.study_name for summary in optuna.get_all_study_summaries(storage))
        if name.startswith(prefix)
    }


def same(left: Path, right: Path, name: str = "smoke") -> None:
    """Raises AssertionError where the studies differ."""
    pd.testing.assert_frame_equal(trials(left, name), trials(right, name))
    assert histories(left, name) == histories(right, name)
    assert optuna_trials(left) == optuna_trials(right)
    assert (left / "report" / "gap.csv").read_text() == (right / "report" / "gap.csv").read_text()
