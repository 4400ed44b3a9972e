"""A Ray cluster of the tests' own on this machine: a head without processors, and nodes beside it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.study.test_ui import free_port

RAY = str(Path(sys.executable).with_name("ray"))
README = Path(__file__).parents[2] / "README.md"
MEMORY = ("--object-store-memory", str(100 << 20))


class Cluster:
    """Processes of `ray start --block`, each with what it started in a session of its own."""

    def __init__(self, *, token: bool = False) -> None:
        """A fresh home directory; `token`: made as README says, and asked for."""
        self.home = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path is short
        self.address = f"127.0.0.1:{free_port()}"
        self.environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "HOME": str(self.home)}
        if token:
            (made,) = re.findall(r"^    (mkdir -p ~/.ray; .*?)  +#", README.read_text(), re.MULTILINE)
            self.environment["RAY_AUTH_MODE"] = "token"
            subprocess.run(made, shell=True, check=True, env=self.environment)
        self.processes: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        self.start("--head", "--port", port, "--num-cpus", "0", "--include-dashboard", "false")

    def start(self, *words: str, before: Sequence[str] = (), **environment: str) -> None:
        """`before`: words that run `ray`, such as `unshare`."""
        command = [*before, RAY, "start", *words, "--block", *MEMORY, "--disable-usage-stats"]
        if "--head" in words:
            command += ["--temp-dir", str(self.home / "r"), "--node-ip-address", "127.0.0.1"]
        with (self.home / f"log-{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen(
                command, env={**self.environment, **environment}, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        until = time.monotonic() + 120
        while b"Ray runtime started" not in (self.home / f"log-{len(self.processes) - 1}").read_bytes():
            assert process.poll() is None, "ray start ended"
            assert time.monotonic() < until, "ray start takes too long"
            time.sleep(0.2)

    def node(self, cpus: int, before: Sequence[str] = (), **environment: str) -> None:
        """One more node, with so many processors."""
        self.start("--address", self.address, "--num-cpus", str(cpus), before=before, **environment)

    def remove(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)
