"""A real study, run once, that many tests look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# Where there is no GPU Triton interprets kernels. It asks when it is imported, so this stands before any test does.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

signal.signal(signal.SIGINT, signal.default_int_handler)  # else a shell's background job, and its studies, ignore it


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch):
    for key in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(key, raising=False)


def run_study(*words: object, cwd: Path | None = None, **options) -> subprocess.CompletedProcess[str]:
    """`study WORDS…` in a process of its own."""
    command = [sys.executable, "-m", "study.cli", *map(str, words)]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, **options)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The built-in smoke study on two slots: its directory, and what the command said."""
    folder = tmp_path_factory.mktemp("smoke") / "study"
    ran = run_study("run", "smoke", "--dir", folder, "--slots", 2)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder, ran


@pytest.fixture(scope="session")
def smoke(smoke_run) -> Path:
    """The directory of the finished smoke study."""
    return smoke_run[0]
