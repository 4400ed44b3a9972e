"""A process that is stopped in the middle of a write to SQLite: named where the database is wanted."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.locks import keepers, locked_by
from study.patience import Patience
from study.storage import open_database
from trainables.errors import Refused

HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("holds it", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held(tmp_path) -> Iterator[tuple[Path, int]]:
    """A database that another process, which is stopped, keeps locked."""
    file = tmp_path / "search.db"
    open_database(f"sqlite:///{file}").get_all_studies()
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    yield file, process.pid
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="this system does not say who holds a lock")
def test_who_keeps_a_database_locked_is_named(held):
    file, pid = held
    assert keepers(file) == {pid: "T"}
    assert locked_by(file, "no such table") == locked_by(None, "database is locked") == ""
    pattern = rf"does not answer \(.*database is locked by process {pid}, which is stopped\); end that process, or let"
    with pytest.raises(Refused, match=pattern):
        open_database(f"sqlite:///{file}?timeout=0.1")

    def look() -> None:
        connection = sqlite3.connect(file, timeout=0.1)
        try:
            connection.execute("SELECT * FROM studies")
        finally:
            connection.close()

    said: list[str] = []
    patience = Patience("the search's storage", lambda error: isinstance(error, sqlite3.Error), said.append, file=file)
    assert patience.once(look) is None
    assert f"does not answer (database is locked by process {pid}, which is stopped); trials go on, trying" in said[0]
    os.kill(pid, signal.SIGCONT)
    assert locked_by(file, "database is locked") == f" by process {pid}"


def test_ones_own_lock_and_a_file_that_is_gone_name_nobody(tmp_path):
    file = tmp_path / "x.db"
    assert keepers(file) == {}
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    assert keepers(file) == {}
    connection.close()
