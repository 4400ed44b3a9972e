"""Faults that really happen to a running study, and what it does then.

It waits or stops with one message, loses nothing, writes nothing twice, and the same command ends with the very results
of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from study.ledger import Ledger
from study.plan import cells
from study.run import _mended
from study.spec import load
from tests.conftest import run_study
from tests.study.commands import study
from tests.study.compare import same
from tests.study.kills import workers

pytestmark = pytest.mark.faults


class Running:
    """`study run smoke` in a process of its own."""

    def __init__(
        self, folder: Path, *words: str, patience: float = 60.0, cwd: Path | None = None, **environment: str
    ) -> None:
        self.folder, self.output = folder, tempfile.TemporaryFile()  # noqa: SIM115, read until the test ends
        command = [sys.executable, "-m", "study.cli", "run", "smoke", "--dir", str(folder), "--slots", "2", *words]
        self.process = subprocess.Popen(
            command, stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True, cwd=cwd,
            env={**os.environ, "STUDY_PATIENCE": str(patience), "PYTHONUNBUFFERED": "1", **environment},
        )  # fmt: skip

    def said(self) -> str:
        """On one line."""
        file = self.output.fileno()  # whose place is the process's: reading must not move it
        return " ".join(os.pread(file, os.fstat(file).st_size, 0).decode().split())

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait, while it runs."""
        while not holds():
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)

    def until_ended(self, trials: int) -> None:
        """Wait until this many search trials have ended, going by the journal, which is left alone."""
        journal = self.folder / "optuna.journal"
        done = '"op_code":6'  # a trial's state is set
        self.until(lambda: journal.exists() and journal.read_text().count(done) >= trials)

    def until_said(self, words: str) -> None:
        self.until(lambda: words in self.said())

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The driver stands still, so that it cannot end before the fault is there."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def end(self, status: int) -> str:
        """What it said, once it has ended with this status and no traceback."""
        self.process.wait(timeout=280)
        said = self.said()
        assert self.process.returncode == status, said
        assert "Traceback" not in said
        return said


def resumed(folder: Path, smoke: Path, *words: str) -> str:
    """The same command again completes the study, with an undisturbed run's results; returns what it said."""
    ran = run_study("run", "smoke", "--dir", folder, *words)
    assert ran.returncode == 0, ran.stderr
    same(folder, smoke)
    return " ".join(ran.stdout.split())


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting a disk takes root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> Path:
    """To the last byte, by the file that it returns."""
    filler = place / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    return filler


def test_a_full_disk_is_waited_for(disk, smoke):
    """Journal, mlflow.db and spec lie on it."""
    running = Running(disk / "s")
    running.until_ended(2)
    with running.frozen():
        filler = fill(disk)
    running.until_said("does not answer (")
    filler.unlink()
    said = running.end(0)
    assert "trials go on, trying again for 60 s" in said
    assert "answers again, after " in said
    same(disk / "s", smoke)


def test_a_disk_that_stays_full_ends_the_run_cleanly(disk, smoke):
    running = Running(disk / "s", patience=1)
    running.until_ended(2)
    with running.frozen():
        filler = fill(disk)
    said = running.end(1)
    filler.unlink()
    assert said.count("study: the run stopped: ") == 1
    assert "has not answered for " in said
    assert "What ended is stored; once that is mended, the same command goes on." in said
    resumed(disk / "s", smoke)


def test_a_directory_on_a_read_only_disk_is_refused(capsys, disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    result = study(capsys, "run", "smoke", "--dir", disk / "s")
    assert result.status == 2
    assert "cannot be written (Read-only file system); choose another --dir" in " ".join(result.err.split())


def test_a_killed_worker_and_a_second_driver_change_nothing(smoke, tmp_path):
    running = Running(tmp_path / "s")
    running.until_ended(1)
    os.kill(workers(running.process.pid)[0], signal.SIGKILL)
    with running.frozen():
        second = run_study("run", "smoke", "--dir", tmp_path / "s")
    assert second.returncode == 2
    assert "another `study run` is at work there: process " in " ".join(second.stderr.split())
    running.end(0)
    same(tmp_path / "s", smoke)


@pytest.mark.parametrize("ended", [1, 4, 8])
def test_a_worker_that_hangs_is_named_and_killed_and_its_trial_goes_on(smoke, tmp_path, ended):
    """Whenever it stops: in a trial, between two, or over the last ones."""
    running = Running(tmp_path / "s", STUDY_SILENCE="5")
    running.until_ended(ended)
    hanging = workers(running.process.pid)[0]
    os.kill(hanging, signal.SIGSTOP)
    running.until_said(f"on process {hanging} of ")
    said = running.end(0)
    assert "has been silent since 20" in said
    assert "its worker is killed" in said
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    same(tmp_path / "s", smoke)


def test_a_terminated_driver_says_how_to_go_on_and_damaged_checkpoints_cost_time_only(smoke, tmp_path):
    running = Running(tmp_path / "s")
    running.until_ended(3)
    running.process.send_signal(signal.SIGTERM)
    assert "stopped; nothing that ended is lost. To go on: study run smoke --dir" in running.end(130)
    spec = load("smoke")
    unfinished = Ledger(_mended(tmp_path / "s" / "optuna.journal"), spec, cells(spec)).waiting
    for trial in unfinished:
        folder = tmp_path / "s" / "trials" / trial.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a checkpoint")
    assert unfinished
    said = resumed(tmp_path / "s", smoke)
    for trial in unfinished:
        assert said.count(f"{trial.folder}/checkpoint.pt cannot be used (RuntimeError where its state is loaded)") == 1


def hold_lock(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def test_a_database_locked_for_longer_than_its_own_timeout_is_waited_for(smoke, tmp_path):
    """MLflow itself waits 20 s for SQLite's lock."""
    running = Running(tmp_path / "s")
    running.until_ended(2)
    lock = hold_lock(tmp_path / "s" / "mlflow.db")
    running.until_said("database is locked")
    lock.execute("ROLLBACK")
    lock.close()
    assert "answers again, after 2" in running.end(0)
    same(tmp_path / "s", smoke)


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.journal"])
def test_a_deleted_database_is_put_back_and_the_run_stops(smoke, tmp_path, name):
    running = Running(tmp_path / "s")
    running.until_ended(3)
    with running.frozen():
        (tmp_path / "s" / name).unlink()
    said = running.end(1)
    assert said.count("study: the run stopped: ") == 1
    assert f"{name} was deleted while the study ran; it is put back whole" in said
    resumed(tmp_path / "s", smoke)
