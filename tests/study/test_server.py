"""A tracking server instead of the embedded store: `mlflow server`, a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from study.schema import CellEnd, CellRun, Study
from study.store import Store
from tests.conftest import run_study
from tests.study.commands import study
from tests.study.compare import histories
from tests.study.test_faults import Running
from tests.study.test_ui import free_port, patient

pytestmark = pytest.mark.faults


class Server:
    """`mlflow server` on a port and a database of its own, which can go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/server.db",
            "--workers",
            "1",
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words, "--host", "127.0.0.1"],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        patient(f"{self.address}/health", self.process)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def running_server(tmp_path_factory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running_server: Server) -> str:
    """Its address."""
    return running_server.address


def test_a_server_keeps_long_facts_whole(server, tmp_path):
    """As artifacts that the client writes and reads through it."""
    long = Study(question="é, [x]\r\n" * 3000, cells=tuple(f"arm-{number}/32" for number in range(3000)))
    store = Store(server, "long", create=tmp_path, study_id="one")
    store.describe(long)
    tags = CellRun(cell="sgd/32", arm="sgd", batch_size=32)
    store.close(store.open_run(None, "c", tags, {"odd": "p" * 9000}, None), CellEnd(pruning="q" * 9000), {}, ok=True)
    again = Store(server, "long", study_id="one")
    assert again.study() == long
    (row,) = again.cells().to_dict("records")
    assert (row["odd"], row["pruning"]) == ("p" * 9000, "q" * 9000)
    assert again.summaries()["sgd/32"].end.pruning == "q" * 9000
    assert not list(tmp_path.iterdir())


def test_a_server_that_goes_away_and_comes_back_is_waited_for(running_server, smoke, tmp_path):
    folder = tmp_path / "s"
    running = Running(folder, "--tracking-uri", running_server.address, "--set", "name=away")
    running.until_ended(2)
    with running.frozen():
        running_server.stop()
    running.until_said(f"the MLflow store at {running_server.address} does not answer (")
    running_server.start()
    assert "answers again, after " in running.end(0)
    points = histories(folder, "away", running_server.address)
    assert points == histories(smoke)
    assert (folder / "report" / "gap.csv").read_text() == (smoke / "report" / "gap.csv").read_text()


def test_a_study_on_a_server_gives_the_same_results_and_remembers_where_they_are(capsys, server, smoke, tmp_path):
    folder = tmp_path / "remote"
    ran = run_study("run", "smoke", "--dir", folder, "--tracking-uri", server)
    assert ran.returncode == 0, ran.stderr
    assert not (folder / "mlflow.db").exists()
    assert yaml.safe_load((folder / "store.yaml").read_text())["tracking_uri"] == server
    assert (folder / "report" / "gap.csv").read_text() == (smoke / "report" / "gap.csv").read_text()
    assert len(Store(server, "smoke").trials()) == 20
    (folder / "report" / "gap.csv").unlink()
    assert study(capsys, "report", folder).status == 0
    assert len(pd.read_csv(folder / "report" / "gap.csv")) == 4
    result = study(capsys, "run", "smoke", "--dir", tmp_path / "other", "--tracking-uri", server)
    assert result.status == 2
    assert "has an experiment of this name from another directory" in " ".join(result.err.split())
