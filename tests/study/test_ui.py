"""`study ui` starts a real MLflow server, and the link it prints opens the study."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request


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
