"""Who is to blame, and what helps: the right name in the message."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from study import run, work
from study.console import PlainConsole
from study.directory import Directory
from study.patience import Gone
from study.progress import Display
from study.spec import load
from study.store import Store, default_uri
from tests.study.commands import study
from tests.study.test_errors import one_message
from trainables.errors import Refused


class Closed(BaseHTTPRequestHandler):
    """Lets nobody in."""

    status = 401

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def closed() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Closed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in_is_not_to_be_started_but_told_who_one_is(closed, monkeypatch, status, tmp_path):
    monkeypatch.setattr(Closed, "status", status)
    pattern = (
        r"the MLflow server there asks who you are \(.*; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"
    )
    with pytest.raises(Refused, match=pattern) as refused:
        Store(closed, "smoke", create=tmp_path)
    assert "start the server" not in str(refused.value)


def report(monkeypatch, tmp_path, error: Exception) -> str:
    """What ends the run where `error` ends the writing of its report, after a patience of no time."""

    def write(*_):
        raise error

    monkeypatch.setenv("STUDY_PATIENCE", "0")
    monkeypatch.setattr(run, "write_reports", write)
    store = Store(default_uri(tmp_path), "smoke", create=tmp_path)
    with pytest.raises(Gone) as gone:
        run._write_patiently(store, Directory(tmp_path), Display(PlainConsole(quiet=True), "smoke", 1))
    return str(gone.value)


def test_a_disk_that_fills_while_figures_are_written_is_not_the_stores_fault(monkeypatch, tmp_path):
    said = report(monkeypatch, tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert said.startswith(f"the report in {tmp_path / 'report'} could not be written for 0 s ([Errno 28]")


def test_a_store_that_goes_away_meanwhile_is(monkeypatch, tmp_path):
    said = report(monkeypatch, tmp_path, OperationalError("", None, Exception("database is locked")))
    assert said.startswith("the MLflow store at sqlite:///")
    assert "has not answered for 0 s" in said


def test_status_names_the_damaged_journal_itself(capsys, tmp_path):
    (tmp_path / "spec.yaml").write_text(load("smoke").dump())
    (tmp_path / "optuna.journal").write_text("this is no journal\n")
    pattern = rf"optuna\.journal = '{tmp_path / 'optuna.journal'}': is damaged"
    one_message(study(capsys, "status", tmp_path), 2, pattern)


def test_a_run_that_was_stopped_before_any_trial_ended_has_a_share_of_the_time_all_the_same(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(work, "time", clock)
    display = SimpleNamespace(began=10.0, slots=2)
    mine = work.Work(SimpleNamespace(recall=None), None, display, SimpleNamespace(), None)
    mine.busy, clock.now = 15.0, 20.0
    assert mine.share == 0.75
