"""The search in a PostgreSQL that a team shares: a real server that restarts while the study runs."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState

from study.storage import open_database
from study.store import Store
from tests.conftest import run_study
from tests.study.commands import study
from tests.study.compare import histories, optuna_trials, searched, trials
from tests.study.postgres import Postgres
from tests.study.test_faults import Running
from trainables.errors import Refused


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


def searches(url: str, name: str = "smoke") -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds of a study, in the form of `optuna_trials`."""
    return searched(open_database(url), f"{name}: ")


def ended(url: str) -> int:
    """Search trials so far."""
    return sum(state == "COMPLETE" for cell in searches(url).values() for _, _, _, state, _ in cell)


@pytest.mark.faults
def test_a_database_that_restarts_is_waited_for_and_holds_what_the_journal_would(capsys, postgres, smoke, tmp_path):
    """Two slots; then the same study with one slot under another name, beside the first."""
    folder = tmp_path / "s"
    running = Running(folder, "--storage", postgres.url)
    running.until(lambda: (folder / "spec.yaml").exists() and ended(postgres.url) >= 2)
    with running.frozen():
        postgres.stop()
    running.until_said("the search's storage postgresql://postgres@/postgres")
    postgres.start()
    said = running.end(0)
    assert "answers again, after " in said
    pd.testing.assert_frame_equal(trials(folder), trials(smoke))
    assert histories(folder) == histories(smoke)
    assert searches(postgres.url) == optuna_trials(smoke)
    assert not (folder / "optuna.journal").exists()
    assert yaml.safe_load((folder / "store.yaml").read_text())["storage"] == postgres.url

    other = tmp_path / "other"
    same_name = study(capsys, "run", "smoke", "--dir", other, "--storage", postgres.url)
    assert same_name.status == 2
    assert "name = 'smoke': the storage has a study of this name from another directory" in " ".join(
        same_name.err.split()
    )
    ran = run_study("run", "smoke", "--dir", other, "--storage", postgres.url, "--set", "name=again", "--slots", 1)
    assert ran.returncode == 0, ran.stderr
    assert searches(postgres.url, "again") == searches(postgres.url) == optuna_trials(smoke)
    assert study(capsys, "run", "smoke", "--dir", folder, "--storage", "sqlite:///x.db").status == 2


UNREACHABLE = [
    ("postgresql://me:secret@127.0.0.1:9/x", r"//me@127\.0\.0\.1:9/x': the database there does not answer \(.*refused"),
    ("nonsense", r"--storage = 'nonsense': Could not parse SQLAlchemy URL.*; for example postgresql://"),
    ("mysql+mysqldb://me@127.0.0.1:9/x", r"needs the Python package MySQLdb; pip install generalization-gap\[postgres\], or \[mysql\]"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "pattern"), UNREACHABLE)
def test_a_database_that_does_not_answer_is_refused(capsys, tmp_path, url, pattern):
    from tests.study.test_errors import one_message

    one_message(study(capsys, "run", "smoke", "--dir", tmp_path / "s", "--storage", url), 2, pattern)
    assert not (tmp_path / "s" / "spec.yaml").exists()


def test_readmes_plain_url_opens_a_database_for_the_search_and_for_the_results(postgres, tmp_path):
    """`postgresql://…` without a driver, in the environment that README makes."""
    assert "--storage postgresql://" in (Path(__file__).parents[2] / "README.md").read_text()
    assert open_database(postgres.url).get_all_studies() == []
    results = postgres.another("results")  # Optuna and MLflow each want a database of their own
    assert Store(results, "plain", create=tmp_path, study_id="one").identity().study_id == "one"
    with pytest.raises(Refused, match=r"Optuna keeps a search in this database, and MLflow wants one of its own"):
        Store(postgres.url, "plain", create=tmp_path, study_id="one")
    with pytest.raises(Refused, match=r"MLflow keeps its results in this database, and Optuna wants one of its own"):
        open_database(results)


def stopped_outside_a_write(running: Running, database: Path) -> None:
    """The driver stands still, and keeps nothing locked."""
    while True:
        running.process.send_signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            running.process.send_signal(signal.SIGCONT)
            time.sleep(0.01)


@pytest.mark.faults
@pytest.mark.parametrize("time_", range(3))
def test_a_copied_directory_is_refused_while_its_study_runs_elsewhere_and_may_take_it_over(smoke, tmp_path, time_):
    """Three times, for where the first driver is stopped is chance: `test_two_drivers` stops one everywhere."""
    first, copy, file = tmp_path / "first", tmp_path / "copy", tmp_path / "search.db"
    url = f"sqlite:///{file}"
    running = Running(first, "--storage", url)
    running.until(lambda: (first / "spec.yaml").exists() and ended(url) >= 2 + time_)
    with running.frozen():
        stopped_outside_a_write(running, file)
        shutil.copytree(first, copy)
        refused = run_study("run", "smoke", "--dir", copy, "--storage", url)
        assert refused.returncode == 2
        said = " ".join(refused.stderr.split())
        assert f"another `study run` is at work there: process {running.process.pid} on " in said
        assert f"in {first}, since 20" in said
        assert f"(so says {url}); wait for it, or stop it; --take-over ends it" in said
        taking = Running(copy, "--storage", url, "--take-over")
        before = ended(url)
        taking.until(lambda: ended(url) > before)
    assert f"another `study run` has taken the study over: process {taking.process.pid} on " in running.end(1)
    taking.end(0)
    assert searches(url) == optuna_trials(smoke)
    pd.testing.assert_frame_equal(trials(copy), trials(smoke))
    assert histories(copy) == histories(smoke)
    left = open_database(url)
    states = {trial.state for each in left.get_all_studies() for trial in left.get_all_trials(each._study_id)}
    assert not states & {TrialState.RUNNING, TrialState.WAITING}
