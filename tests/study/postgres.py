"""A PostgreSQL of the tests' own: a real server on a Unix socket, started and stopped here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from study.drivers import DRIVERS

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's place


class Postgres:
    """One server, with a database `postgres`."""

    def __init__(self, password: str = "") -> None:
        """With a `password`, it is asked for."""
        if not SERVERS and shutil.which("initdb") is None:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        if not any(find_spec(driver) for driver in DRIVERS["postgresql"]):
            pytest.skip("Python has no driver for it (pip install generalization-gap[postgres])")
        self.bin = SERVERS[-1] if SERVERS else Path(str(shutil.which("initdb"))).parent
        self.home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
        if os.getuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
        self.password, file = password, self.home / "password"
        file.write_text(password or "none")
        file.chmod(0o644)
        way = ["-A", "scram-sha-256", "--pwfile", file] if password else ["-A", "trust"]
        self._do("initdb", "-D", self.home / "data", "-U", "postgres", *way, "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.home}"

    def another(self, name: str) -> str:
        """The URL of a further database, made here."""
        self._do("createdb", "-h", self.home, "-U", "postgres", name)
        return self.url.replace("/postgres?", f"/{name}?")

    def start(self) -> None:
        options = f"-c listen_addresses='' -k {self.home} -c fsync=off"
        self._do("pg_ctl", "-D", self.home / "data", "-w", "-o", options, "-l", self.home / "log", "start")

    def stop(self) -> None:
        """At once, as a crash would."""
        self._do("pg_ctl", "-D", self.home / "data", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _do(self, program: str, *words: object) -> None:
        """As an unprivileged user: the server refuses root."""
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        subprocess.run([*user, self.bin / program, *map(str, words)], check=True, stdout=subprocess.DEVNULL, cwd="/tmp")
