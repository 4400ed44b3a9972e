"""The store: one MLflow experiment a study, a parent run a cell, a child run a trial.

Runs are found again by their tags, and a metric is written once for each step, so that a study killed anywhere
and started again leaves every trial once, no step twice or missing. `study.schema` says what the tags, metrics and
artifacts are. This file alone imports MLflow.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault(
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
)  # a line a trial, where a server has the results
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # ours is the patience with a server that is away
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from study import landing, schema
from study.artifacts import Artifacts
from study.credentials import log_in, without_password
from study.drivers import database_file, tables, with_driver
from study.locks import locked_by
from study.patience import Anchor, passing
from study.schema import CellEnd, CellRun, Identity, Keys, Pointer, Standing, Study, Summary, Tags
from study.text import first_line
from trainables.errors import Refused

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints tracebacks of what we try again

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # stores that MLflow's client writes without a server
OWNER = "owner"  # the tag that says which driver runs the study, while it does
OWN_RUN = "report_run"  # the tag that names the run with the experiment's own artifacts
OPTUNAS = "version_info"  # a table by which its databases are known
LISTS = ("cells", "repeats")
METRICS_A_REQUEST = 800  # MLflow takes 1,000 metrics, parameters and tags in all
PARAMS_A_REQUEST = 100
AWAY = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")  # what may pass, of MLflow's errors


def default_uri(directory: Path) -> str:
    """The embedded store of a study directory, whatever characters its path holds."""
    file = str(directory.resolve() / "mlflow.db")
    plain = f"sqlite:///{file}"
    # With its driver named, MLflow makes no folder of the quoted path, which it would take for the real one.
    quoted = URL.create("sqlite+pysqlite", database=file).render_as_string()
    by_sqlite = f"sqlite+pysqlite:///file:{quote(file)}?uri=true"  # for SQLAlchemy 2.0, which quotes no path
    return next(uri for uri in (plain, quoted, by_sqlite) if database_file(uri) == Path(file))


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
    shortened: dict[str, str] = field(default_factory=dict, compare=False)  # keys by the form that MLflow takes

    def stamp(self, step: int) -> int:
        """When the step was first written."""
        return self.stamps.setdefault(step, int(time.time() * 1000))


class Store:
    """The results of the study called `experiment`, at a tracking server or in a study directory."""

    def __init__(self, uri: str, experiment: str, *, create: Path | None = None, study_id: str | None = None) -> None:
        """`create`: the directory of a study that may be new; without it the experiment must exist.

        Raises Refused when the store cannot be reached, holds no such experiment, one of another `study_id`, or one
        that a newer version wrote.
        """
        self.uri, self.experiment = (uri := without_password(uri)), experiment
        self.anchor: Anchor | None = None
        self.database = database_file(uri)
        self._run: str | None = None
        self.doubles: set[str] = set()  # runs that were read and do not count
        with _reachable(uri):
            self.client = MlflowClient(tracking_uri=self.uri_to_connect)
            beside = self.database.parent / "artifacts" if self.database else None
            self.artifacts = Artifacts(self.client, uri, beside, passes)
            found = self.client.get_experiment_by_name(experiment)
            if found is None and create is not None:
                place = beside or (create.resolve() / "artifacts" if uri.startswith(DATABASES) else None)
                self.experiment_id = self.client.create_experiment(
                    experiment,
                    artifact_location=place.as_uri() if place else None,
                    tags=Identity(study_id=study_id or "", format=schema.FORMAT).to_tags(),
                )
                return
        if found is None:
            rule = f"the store at {uri} holds no experiment of this name"
            raise Refused("study", experiment, rule, "run the study first, or restore it")
        _check(found, uri, study_id)
        self.experiment_id = found.experiment_id

    @property
    def uri_to_connect(self) -> str:
        """For MLflow alone, for that of a database may hold a password."""
        return _to_connect(self.uri)

    # Writing

    def hold(self) -> None:
        """From now on a database in a file is put back if somebody deletes it, and `check` says so."""
        if self.database is not None:
            self.anchor = Anchor(self.database)

    def check(self) -> None:
        """Raises Gone where the database was deleted since `hold`."""
        if self.anchor is not None:
            self.anchor.check()

    def describe(self, facts: Study | Standing) -> None:
        """Facts about the whole study, as tags of its experiment."""
        tags = self.artifacts.fitted(facts.to_tags(), self._own_run, schema.TAG_LENGTH)
        if isinstance(facts, Study):
            tags |= {"format": str(schema.FORMAT)}  # last: until then lists may be those of format 1
        for name, text in tags.items():
            self.client.set_experiment_tag(self.experiment_id, name, text)

    def present(self, question: str, answer: Sequence[str], page: Path | None = None) -> None:
        """What MLflow's UI opens with; `page` is attached. A description that a person wrote stays."""
        run = self._own_run() if page else ""
        if page:
            self.artifacts.attach(run, page, f"report/{page.name}")
        tags = self.client.get_experiment(self.experiment_id).tags
        shown = {**landing.KIND, **landing.views()}
        if landing.is_ours(tags.get(landing.DESCRIPTION, "")):
            shown[landing.DESCRIPTION] = landing.description(question, self.experiment_id, answer, run)
        for name, text in shown.items():
            if tags.get(name) != text and schema.fits(text, schema.TAG_LENGTH):
                self.client.set_experiment_tag(self.experiment_id, name, text)

    def _own_run(self) -> str:
        """The run whose artifacts are the study's own: an experiment has none. It is no cell's and no trial's."""
        if self._run is None:
            tags = self.client.get_experiment(self.experiment_id).tags
            pointers = map(Pointer.read, tags.values())  # of a store that does not state the run
            self._run = tags.get(OWN_RUN) or next((pointer.run for pointer in pointers if pointer), None)
        if self._run is None:
            self._run = self.client.create_run(self.experiment_id, run_name="report").info.run_id
            self.client.set_terminated(self._run)
            self.client.set_experiment_tag(self.experiment_id, OWN_RUN, self._run)
        return self._run

    def runs(self, query: str = "") -> dict[tuple[str, str, str], Run]:
        """Every run (that meets the query), by its tags (cell, phase, config_hash); a cell's own has config_hash ''."""
        return {_place(run): run for run in self._counted(query) if "cell" in run.data.tags}

    def open_run(
        self, known: Run | None, name: str, tags: CellRun, params: Mapping[str, Any], parent: str | None
    ) -> Record:
        """The run with these tags: the `known` one, or a new one. Its parameters go with the first metrics."""
        texts = tags.to_tags()
        if known is not None:
            record = self.reopen(known)
        else:
            short = {key: text for key, text in texts.items() if schema.fits(text, schema.TAG_LENGTH)}
            nesting = {"mlflow.parentRunId": parent} if parent else {}
            run = self.client.create_run(self.experiment_id, tags={**short, **nesting}, run_name=name)
            record = Record(run.info.run_id)
            texts = {key: text for key, text in texts.items() if key not in short}
        self._tag(record.run_id, texts)
        held = known.data.params if known is not None else {}
        fresh = {self._key(record, key): str(value) for key, value in params.items()}
        fresh = {key: text for key, text in fresh.items() if key not in held}
        fitted = self.artifacts.fitted(fresh, lambda: record.run_id, schema.PARAM_LENGTH)
        record.params = [Param(key, text) for key, text in fitted.items()]
        return record

    def reopen(self, known: Run) -> Record:
        """A run that is there, to be written on."""
        self.client.update_run(known.info.run_id, status="RUNNING")
        history = self.client.get_metric_history(known.info.run_id, "train/loss")
        return Record(known.info.run_id, max((point.step for point in history), default=0), reopened=True)

    def log(self, record: Record, rows: Rows) -> None:
        """Append metrics by step; steps that the run already holds are left alone."""
        rows = self._keyed(record, rows)
        self._send(record, self._fresh(record, rows), {})
        self._note(record, rows)

    def close(
        self, record: Record, tags: Tags, metrics: Mapping[str, float], *, ok: bool, rows: Rows = ()
    ) -> None:  # fmt: skip
        """The last `rows`, final metrics (once, whatever the rows hold), final tags, and the run's end."""
        rows, ((_, metrics),) = self._keyed(record, rows), self._keyed(record, [(0, metrics)])
        fresh = self._fresh(record, rows)
        reopened = metrics and record.reopened
        held = dict(self.client.get_run(record.run_id).data.metrics if reopened else record.latest)
        for _, row in rows:
            held.update(row)
        last = max([record.last_step, *(step for step, _ in rows)])
        final = [Metric(k, v, record.stamp(last), last) for k, v in metrics.items() if held.get(k) != v]
        fitted = self.artifacts.fitted(tags.to_tags(), lambda: record.run_id, schema.TAG_LENGTH)
        self._send(record, [*fresh, final], fitted)
        self._note(record, rows)
        self.client.set_terminated(record.run_id, "FINISHED" if ok else "FAILED")

    def tag(self, run_id: str, tags: Tags) -> None:
        """Change these tags of a run, whether it is open or not."""
        self._tag(run_id, tags.to_tags())

    def _tag(self, run_id: str, texts: Mapping[str, str]) -> None:
        fitted = self.artifacts.fitted(texts, lambda: run_id, schema.TAG_LENGTH)
        if fitted:
            self.client.log_batch(run_id, tags=[RunTag(key, text) for key, text in fitted.items()])

    def _key(self, record: Record, key: str) -> str:
        """The form of `key` that MLflow takes."""
        safe = schema.safe_key(key)
        if safe not in record.shortened and schema.is_shortened(key):
            record.shortened[safe] = key
            self._tag(record.run_id, Keys(keys=record.shortened).to_tags())
        return safe

    def _keyed(self, record: Record, rows: Rows) -> Rows:
        return [(step, {self._key(record, key): value for key, value in row.items()}) for step, row in rows]

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
        """In as few requests as may be, parameters in the first ones, tags in the last."""
        groups: list[list[Metric]] = [[]]
        for step in steps:
            if len(groups[-1]) + len(step) > METRICS_A_REQUEST:
                groups.append([])
            groups[-1] += step
        metrics = [part for group in groups for part in _parts(group, METRICS_A_REQUEST)]
        params = _parts(record.params, PARAMS_A_REQUEST)
        requests = list(zip_longest(metrics, params, fillvalue=()))
        for number, (some, with_them) in enumerate(requests, 1):
            final = [RunTag(key, text) for key, text in tags.items()] if number == len(requests) else []
            if some or with_them or final:
                self.client.log_batch(record.run_id, metrics=some, params=with_them, tags=final)
        record.params = []

    def _note(self, record: Record, rows: Rows) -> None:
        """The run holds these steps."""
        for step, row in rows:
            if step > record.last_step:
                record.latest |= row
                record.last_step = step

    def delete_doubles(self) -> None:
        """Into MLflow's bin with what was read and does not count."""
        while self.doubles:
            self.client.delete_run(self.doubles.pop())

    # Reading

    def identity(self) -> Identity:
        """Whose the store is, and its format."""
        return Identity.from_tags(self._facts())

    def study(self) -> Study:
        """What the study is. Raises Refused where its description is damaged."""
        tags = self._facts()
        study = Study.from_tags(tags)
        if Identity.from_tags(tags).format == 1 and max(len(tags.get(key, "")) for key in LISTS) >= schema.CUT:
            return self._mended(study)
        return study

    def standing(self) -> Standing:
        """How far it has come."""
        return Standing.from_tags(self._facts())

    def cells(self) -> pd.DataFrame:
        """A row a cell: `run_id`, its tags, and its metrics (`gap/batch`, …)."""
        return self._frame("tags.phase = 'cell'")

    def summaries(self) -> dict[str, Summary]:
        """Each cell's run, by the cell."""
        runs = ((self.artifacts.whole(run.data.tags), run.data.metrics) for run in self._counted("tags.phase = 'cell'"))
        found = (Summary(CellRun.from_tags(tags), CellEnd.from_tags(tags), metrics) for tags, metrics in runs)
        return {summary.run.cell: summary for summary in found}

    def trials(self) -> pd.DataFrame:
        """A row for each trial. Numbers are numbers, lists are JSON.

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
            for point in self.client.get_metric_history(run_id, schema.safe_key(key))
        ]
        whole = pd.DataFrame(points, columns=["run_id", "metric", "epoch", "value"])
        return whole.drop_duplicates(ignore_index=True)  # an epoch that two drivers wrote at one moment is there twice

    def _facts(self) -> dict[str, str]:
        return self.artifacts.whole(self.client.get_experiment(self.experiment_id).tags)

    def _mended(self, study: Study) -> Study:
        """Cells that format 1 cut out of the study's description, from their own runs, in the order of their making."""
        runs = [summary.run for summary in self.summaries().values()]
        cells, repeats = (tuple(run.cell for run in runs if bool(run.repeat) == further) for further in (False, True))
        return replace(study, cells=cells, repeats=repeats)

    def link(self) -> str:
        """The experiment's table of cells, below the address of MLflow's UI."""
        return landing.link(self.experiment_id)

    def _frame(self, query: str) -> pd.DataFrame:
        frame = pd.DataFrame(self._row(run) for run in self._counted(query))
        for column in frame.columns:
            numbers = pd.to_numeric(frame[column], errors="coerce")
            known = column == "run_id" or column in schema.RUN_KINDS  # an arm may be called 10
            if not known and bool((numbers.notna() == frame[column].notna()).all()):
                frame[column] = numbers
        return frame

    def _row(self, run: Run) -> dict[str, Any]:
        """A run's tags, parameters and metrics, each under its whole name."""
        tags = self.artifacts.whole(run.data.tags)
        keys = Keys.from_tags(tags).keys
        told = {name: schema.shown(name, text) for name, text in tags.items() if not name.startswith("mlflow.")}
        told.pop("keys", None)
        values = self.artifacts.whole(run.data.params) | run.data.metrics
        whole = {schema.whole_key(key, keys): value for key, value in values.items()}
        return {"run_id": run.info.run_id} | told | {key: x for key, x in whole.items() if key not in told}

    def _counted(self, query: str) -> list[Run]:
        """One run for each cell and trial.

        A driver that stood still in the middle of making one, while another took the study over, makes a second when it
        goes on. The one that has ended counts, else the first.
        """
        counted: dict[tuple[str, ...], Run] = {}
        for run in self._search(query):
            tags = run.data.tags
            known = tags.get("config_hash") or tags.get("phase") == "cell"  # else nothing tells it from others
            place = _place(run) if known else (run.info.run_id,)
            other = counted.setdefault(place, run)
            if other is not run:
                counted[place], double = sorted((other, run), key=_running)
                self.doubles.add(double.info.run_id)
        return list(counted.values())

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


def _place(run: Run) -> tuple[str, str, str]:
    """The tags by which a run is found again."""
    tags = run.data.tags
    return tags["cell"], tags["phase"], tags.get("config_hash", "")


def _running(run: Run) -> bool:
    return bool(run.data.tags.get("status", "running") == "running")


def _to_connect(uri: str) -> str:
    """The URI as MLflow wants it."""
    return with_driver(log_in(uri))


def reach(uri: str, experiment: str, study_id: str) -> None:
    """Raises Refused where `Store` would, for a study that may be new; makes nothing."""
    with _reachable(uri):
        found = MlflowClient(tracking_uri=_to_connect(uri)).get_experiment_by_name(experiment)
    if found is not None:
        _check(found, uri, study_id)


def _check(found: Experiment, uri: str, study_id: str | None) -> None:
    """Raises Refused where the experiment at `uri` is deleted, not that of `study_id`, or a newer version's."""
    if found.lifecycle_stage != "active":
        raise Refused("study", found.name, f"the store at {uri} is deleted", "run the study first, or restore it")
    identity = Identity.from_tags(found.tags)
    if study_id is not None and identity.study_id != study_id:
        raise Refused(
            "name", found.name, f"the store at {uri} has an experiment of this name from another directory",
            "rename this one with --set name=…",
        )  # fmt: skip
    identity.check(uri)


class OwnersTag:
    """The board of a study whose results lie outside its directory: a tag of its experiment, gone with its owner."""

    def __init__(self, store: Store) -> None:
        self.client, self.experiment = store.client, store.experiment_id

    def read(self) -> str:
        return str(self.client.get_experiment(self.experiment).tags.get(OWNER, ""))

    def write(self, text: str) -> None:
        if text:
            self.client.set_experiment_tag(self.experiment, OWNER, text)
        else:
            self.client.delete_experiment_tag(self.experiment, OWNER)


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """The items in order, in groups of `size`; one empty group for none."""
    return [items[at : at + size] for at in range(0, max(len(items), 1), size)]


@contextmanager
def _reachable(uri: str) -> Iterator[None]:
    """One short try on first contact, where MLflow's own retries would take minutes to fail."""
    patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    before = {key: os.environ.get(key) for key in patience}
    os.environ.update(patience)
    try:
        if uri.startswith(DATABASES) and OPTUNAS in tables(_to_connect(uri)):
            rule = "Optuna keeps a search in this database, and MLflow wants one of its own"
            raise Refused("tracking_uri", uri, rule, "create another for the results")
        yield
    except ImportError as error:
        rule = f"needs the Python package {error.name}"
        raise Refused("tracking_uri", uri, rule, "pip install generalization-gap[postgres], or [mysql]") from None
    except (MlflowException, SQLAlchemyError) as error:
        if isinstance(error, MlflowException) and error.get_http_status_code() in (401, 403):
            raise Refused("tracking_uri", uri, f"the MLflow server there asks who you are ({first_line(error)})",
                          "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to an "
                          "account that may write there") from error  # fmt: skip
        reason = first_line(error)
        remedy = "start the server, correct --tracking-uri or MLFLOW_TRACKING_URI, or leave both out"
        if by := locked_by(database_file(uri), reason):
            reason, remedy = reason + by, "end that process, or let it go on"
        raise Refused("tracking_uri", uri, f"the MLflow store there does not answer ({reason})", remedy) from error
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
