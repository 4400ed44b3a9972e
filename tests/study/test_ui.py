"""`study ui` starts a real MLflow server, and the link it prints opens the study."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_ui_serves_the_study_on_loopback(smoke):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "study.cli", "ui", str(smoke), "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        link = server.stdout.readline().strip()
        assert link.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        assert link.endswith("/runs?workflowType=machine_learning")
        experiment = link.split("/experiments/")[1].split("/")[0]
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
        assert json.loads(patient(address, server))["experiment"]["name"] == "smoke"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=30)


def patient(address: str, server: subprocess.Popen[str]) -> bytes:
    for _ in range(300):
        assert server.poll() is None
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.3)
    raise AssertionError("the server did not come up")


def test_optuna_dashboard_shows_every_cell(smoke, tmp_path):
    """On a copy: it opens the journal for writing."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    program = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent))
    if chromium is None or program is None:
        pytest.skip("needs chromium and optuna-dashboard")
    journal = shutil.copy(smoke / "optuna.journal", tmp_path)
    port = free_port()
    server = subprocess.Popen(
        [program, str(journal), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}/dashboard"
        patient(address, server)
        seen = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
             "--virtual-time-budget=15000", "--dump-dom", address],
            capture_output=True, text=True, timeout=120,
        ).stdout  # fmt: skip
        assert all(f"{cell}" in seen for cell in ("sgd/16", "sgd/64", "lars/16", "lars/64"))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
