"""A tracking server instead of the embedded store: `mlflow server`, a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pandas as pd
import pytest
import yaml

from study.store import Store
from tests.conftest import run_study
from tests.study.commands import study
from tests.study.test_ui import free_port, patient


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """Its address."""
    port = free_port()
    folder = tmp_path_factory.mktemp("server")
    words = ["server", "--backend-store-uri", f"sqlite:///{folder}/server.db", "--workers", "1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words, "--host", "127.0.0.1"],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    patient(f"http://127.0.0.1:{port}/health", process)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


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
