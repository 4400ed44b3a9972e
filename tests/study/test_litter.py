"""What refusals, kills and races leave behind: nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from study import engine
from study.storage import mend, open_storage
from study.store import Store
from tests.study.commands import study
from tests.study.test_errors import one_message
from tests.study.test_ui import free_port


def test_the_journals_locks_go_whatever_optuna_called_them(tmp_path):
    journal = tmp_path / "optuna.journal"
    open_storage(journal)
    for name in ("optuna.journal.lock", "optuna.journal.lock4f1c.rename", "optuna.journal.locks"[:-1] + "0.rename"):
        (tmp_path / name).touch()
    (tmp_path / "optuna.journal.copy").touch()
    mend(journal)
    assert {path.name for path in tmp_path.iterdir()} == {"optuna.journal", "optuna.journal.copy"}


REFUSED = [
    ("--tracking-uri", "http://127.0.0.1:{port}", r"tracking_uri = .*: the MLflow store there does not answer"),
    ("--storage", "mysql+nonsense://me@127.0.0.1/x", r"--storage = "),
]


@pytest.mark.parametrize(("option", "value", "pattern"), REFUSED)
@pytest.mark.parametrize("there", [False, True], ids=["a new directory", "one with a file of the user's"])
def test_a_refusal_leaves_no_directory_that_was_not_there(capsys, tmp_path, option, value, pattern, there):
    folder = tmp_path / "s"
    if there:
        folder.mkdir()
        (folder / "notes.txt").touch()
    words = ("run", "smoke", "--dir", folder, option, value.format(port=free_port()))
    one_message(study(capsys, *words), 2, pattern)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"] if there else not folder.exists()


def test_a_refusal_for_another_directorys_name_leaves_nothing_here_or_there(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "run", lambda *_: None)
    uri = f"sqlite:///{tmp_path / 'results.db'}"
    Store(uri, "smoke", create=tmp_path, study_id="another")
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "s", "--tracking-uri", uri)
    one_message(result, 2, r"has an experiment of this name from another directory; rename this one")
    assert not (tmp_path / "s").exists()
    with sqlite3.connect(tmp_path / "results.db") as database:
        assert database.execute("select count(*) from runs").fetchone() == (0,)


START = """
import sys
from pathlib import Path
from study import engine, run
from study.console import PlainConsole
from study.directory import Directory
from study.progress import Display
from study.spec import load
engine.run = lambda *_: None
folder, name, uri, storage = sys.argv[1:]
spec = load("smoke", overrides=[f"name={name}"])
display = Display(PlainConsole(quiet=True), name, 1)
run.run(spec, Directory(Path(folder)), engine.Machine(), uri, display, storage=storage)
"""


@pytest.mark.faults
def test_two_first_starts_on_one_empty_file_both_succeed_and_leave_a_run_a_cell(tmp_path):
    uri, storage = f"sqlite:///{tmp_path / 'results.db'}", f"sqlite:///{tmp_path / 'search.db'}"
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(tmp_path / name), name, uri, storage], stderr=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    said = [start.communicate(timeout=250)[1].decode() for start in starts]
    assert all("Interrupted" in each.splitlines()[-1] for each in said), said  # no trial ran
    with sqlite3.connect(tmp_path / "results.db") as database:
        runs = database.execute(
            "select e.name, count(*) from runs r join experiments e using (experiment_id) group by e.name"
        ).fetchall()
    assert sorted(runs) == [("one", 4 + 1), ("two", 4 + 1)]  # a cell each, and the report's
