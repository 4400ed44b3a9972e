"""The store: one MLflow experiment a study, a parent run a cell, a child run a trial.

Runs are found again by their tags, and a metric is written once for each step, so that a study killed anywhere
and started again leaves every trial once, no step twice or missing. This file alone imports MLflow.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # ours is the patience with a server that is away
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from study.patience import Anchor, passing
from study.text import first_line
from trainables.errors import Refused

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints tracebacks of what we try again

LIMIT = 800  # metrics in one request, which MLflow bounds at 1000 with parameters and tags (100 of each at most)
TEXT_LIMIT = 4900  # characters of an experiment's tag
AWAY = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")  # what may pass, of MLflow's errors


def default_uri(directory: Path) -> str:
    """The embedded store of a study directory."""
    return f"sqlite:///{directory.resolve()}/mlflow.db"


def passes(error: Exception) -> bool:
    """Whether the error is that of a store which is away, locked or full: a further try may succeed."""
    if isinstance(error, MlflowException):
        return error.error_code in AWAY
    return isinstance(error, SQLAlchemyError) or passing(error)


Rows = Sequence[tuple[int, Mapping[str, float]]]  # metrics by step, in order


@dataclass
class Record:
    """An open run: where it is, and the last step it holds.

    `stamps` are the times of its steps (ms): a metric written again at the same time is not there twice.
    """

    run_id: str
    last_step: int = 0
    reopened: bool = field(default=False, compare=False)
    stamps: dict[int, int] = field(default_factory=dict, compare=False)
    latest: dict[str, float] = field(default_factory=dict, compare=False)  # metrics that this process logged
    params: list[Param] = field(default_factory=list, compare=False)  # that the next request carries

    def stamp(self, step: int) -> int:
        """When the step was first written."""
        return self.stamps.setdefault(step, int(time.time() * 1000))


class Store:
    """The results of the study called `experiment`, at a tracking server or in a study directory."""

    def __init__(self, uri: str, experiment: str, *, create: Path | None = None, study_id: str | None = None) -> None:
        """`create`: the directory of a study that may be new; without it the experiment must exist.

        Raises Refused when the store cannot be reached, holds no such experiment, or one of another `study_id`.
        """
        self.uri, self.experiment = uri, experiment
        self.anchor: Anchor | None = None
        with _reachable(uri):
            self.client = MlflowClient(tracking_uri=uri)
            found = self.client.get_experiment_by_name(experiment)
            if found is None and create is not None:
                place = str(create.resolve() / "artifacts") if uri.startswith("sqlite") else None
                tags = {"study_id": study_id or ""}
                self.experiment_id = self.client.create_experiment(experiment, artifact_location=place, tags=tags)
                return
        if found is None or found.lifecycle_stage != "active":
            state = "is deleted" if found else "holds no experiment of this name"
            raise Refused("study", experiment, f"the store at {uri} {state}", "run the study first, or restore it")
        if study_id is not None and found.tags.get("study_id") != study_id:
            raise Refused(
                "name", experiment, f"the store at {uri} has an experiment of this name from another directory",
                "rename this one with --set name=…",
            )  # fmt: skip
        self.experiment_id = found.experiment_id

    # Writing

    def hold(self) -> None:
        """From now on a database in a file is put back if somebody deletes it, and `check` says so."""
        if self.uri.startswith("sqlite:///"):
            self.anchor = Anchor(Path(self.uri.removeprefix("sqlite:///")))

    def check(self) -> None:
        """Raises Gone where the database was deleted since `hold`."""
        if self.anchor is not None:
            self.anchor.check()

    def describe(self, tags: Mapping[str, str]) -> None:
        """Facts about the whole study, as tags of its experiment."""
        for key, text in tags.items():
            self.client.set_experiment_tag(self.experiment_id, key, text[:TEXT_LIMIT])

    def runs(self, query: str = "") -> dict[tuple[str, str, str], Run]:
        """Every run (that meets the query), by its tags (cell, phase, config_hash); a cell's own has config_hash ''."""
        return {
            (run.data.tags["cell"], run.data.tags["phase"], run.data.tags.get("config_hash", "")): run
            for run in self._search(query)
            if "cell" in run.data.tags
        }

    def open_run(
        self,
        known: Run | None,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        parent: str | None,
    ) -> Record:
        """The run with these tags: the `known` one, or a new one. Its parameters go with the first metrics."""
        if known is not None:
            self.client.update_run(known.info.run_id, status="RUNNING")
            self.client.log_batch(known.info.run_id, tags=[RunTag(key, text) for key, text in tags.items()])
            history = self.client.get_metric_history(known.info.run_id, "train/loss")
            record = Record(known.info.run_id, max((point.step for point in history), default=0), reopened=True)
        else:
            nesting = {"mlflow.parentRunId": parent} if parent else {}
            run = self.client.create_run(self.experiment_id, tags={**tags, **nesting}, run_name=name)
            record = Record(run.info.run_id)
        held = known.data.params if known is not None else {}
        record.params = [Param(key, str(value)) for key, value in params.items() if key not in held]
        return record

    def log(self, record: Record, rows: Rows) -> None:
        """Append metrics by step; steps that the run already holds are left alone."""
        self._send(record, self._fresh(record, rows), {})
        self._note(record, rows)

    def close(
        self, record: Record, tags: Mapping[str, str], metrics: Mapping[str, float], *, ok: bool, rows: Rows = ()
    ) -> None:
        """The last `rows`, final metrics (once, whatever the rows hold), final tags, and the run's end."""
        fresh = self._fresh(record, rows)
        reopened = metrics and record.reopened
        held = dict(self.client.get_run(record.run_id).data.metrics if reopened else record.latest)
        for _, row in rows:
            held.update(row)
        last = max([record.last_step, *(step for step, _ in rows)])
        final = [Metric(k, v, record.stamp(last), last) for k, v in metrics.items() if held.get(k) != v]
        self._send(record, [*fresh, final], tags)
        self._note(record, rows)
        self.client.set_terminated(record.run_id, "FINISHED" if ok else "FAILED")

    def _fresh(self, record: Record, rows: Rows) -> list[list[Metric]]:
        """The metrics of each step that the run does not hold.

        A step's train/loss comes last: it is what tells a step that is there from one that was cut off.
        """
        return [
            [Metric(key, row[key], record.stamp(step), step) for key in sorted(row, key="train/loss".__eq__)]
            for step, row in rows
            if step > record.last_step
        ]

    def _send(self, record: Record, steps: Sequence[list[Metric]], tags: Mapping[str, str]) -> None:
        """In as few requests as may be, the tags in the last."""
        groups: list[list[Metric]] = [[]]
        for step in steps:
            if len(groups[-1]) + len(step) > LIMIT:
                groups.append([])
            groups[-1] += step
        requests = [group[at : at + LIMIT] for group in groups for at in range(0, max(len(group), 1), LIMIT)]
        for number, metrics in enumerate(requests, 1):
            final = [RunTag(key, text) for key, text in tags.items()] if number == len(requests) else []
            if metrics or final or record.params:
                self.client.log_batch(record.run_id, metrics=metrics, params=record.params, tags=final)
            record.params = []

    def _note(self, record: Record, rows: Rows) -> None:
        """The run holds these steps."""
        for step, row in rows:
            if step > record.last_step:
                record.latest |= row
                record.last_step = step

    # Reading

    def facts(self) -> dict[str, str]:
        """What `describe` wrote."""
        return dict(self.client.get_experiment(self.experiment_id).tags)

    def cells(self) -> pd.DataFrame:
        """A row a cell: `run_id`, its tags, and its metrics (`gap/batch`, …)."""
        return self._frame("tags.phase = 'cell'")

    def trials(self) -> pd.DataFrame:
        """A row for each trial. Numbers are numbers.

        The columns are `run_id`, the trial's tags (`cell`, `arm`, `batch_size`, `phase`, `trial`, `seed`, `status`, …),
        its parameters under the spec's keys, and its last metrics.
        """
        return self._frame("tags.phase != 'cell'")

    def curves(self, run_ids: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
        """Metrics by epoch: columns `run_id`, `metric`, `epoch`, `value`."""
        points = [
            (run_id, key, point.step, point.value)
            for run_id in run_ids
            for key in keys
            for point in self.client.get_metric_history(run_id, key)
        ]
        return pd.DataFrame(points, columns=["run_id", "metric", "epoch", "value"])

    def retag(self, run_id: str, key: str, text: str) -> None:
        """Change one tag of a run."""
        self.client.set_tag(run_id, key, text)

    def link(self) -> str:
        """The experiment's table of runs, below the address of MLflow's UI."""
        return f"/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning"

    def _frame(self, query: str) -> pd.DataFrame:
        rows = [
            {"run_id": run.info.run_id}
            | {key: text for key, text in run.data.tags.items() if not key.startswith("mlflow.")}
            | dict(run.data.params)
            | dict(run.data.metrics)
            for run in self._search(query)
        ]
        frame = pd.DataFrame(rows)
        for column in frame.columns:
            numbers = pd.to_numeric(frame[column], errors="coerce")
            if column not in ("run_id", "git_commit", "config_hash") and bool(
                (numbers.notna() == frame[column].notna()).all()
            ):
                frame[column] = numbers
        return frame

    def _search(self, query: str) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                query,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return


@contextmanager
def _reachable(uri: str) -> Iterator[None]:
    """One short try on first contact, where MLflow's own retries would take minutes to fail."""
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {key: os.environ.get(key) for key in patience}
    os.environ.update(patience)
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise Refused(
            "tracking_uri", uri, f"the MLflow store there does not answer ({first_line(error)})",
            "start the server, correct --tracking-uri or MLFLOW_TRACKING_URI, or leave both out",
        ) from error  # fmt: skip
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
