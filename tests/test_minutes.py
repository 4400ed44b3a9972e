"""The one command for a GPU that is there for minutes only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from study.spec import Spec, load
from tests.benchmarks import minutes
from tests.benchmarks.minutes import Ended, Task, pack, run, tasks

SLEEPER = "import time; print('begun', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {SLEEPER}"


def script(text: str, seconds: float = 60, name: str = "one") -> Task:
    return Task(name, (sys.executable, "-c", text), seconds)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_study_is_a_built_in_one_and_the_tests_come_first(device: str) -> None:
    planned = tasks(device, 8)
    assert [task.name for task in planned][:2] == ["tests", "bench"]
    for task in planned[2:]:
        assert isinstance(load(task.name), Spec)
        assert task.study
        assert task.command[-1] == "8" or device == "cpu"


def test_a_task_is_stopped_when_its_time_is_over_even_one_that_is_deaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minutes, "GRACE", 1)
    for text in (SLEEPER, DEAF):
        began = time.monotonic()
        ended = run(script(text, seconds=3), began + 100, tmp_path, tmp_path)
        assert ended.status == "stopped after 3 s"
        assert time.monotonic() - began < 30
        assert (tmp_path / "one.txt").read_text().startswith("begun")


def test_a_task_that_ends_says_how_and_one_without_time_is_left_out(tmp_path: Path) -> None:
    assert run(script("raise SystemExit(3)"), time.monotonic() + 60, tmp_path, tmp_path).status == 3
    assert run(script(""), time.monotonic() + 1, tmp_path, tmp_path) == Ended("one", 0.0, "no time left")


def test_what_comes_back_has_no_checkpoints_and_no_file_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.txt").write_text("said\n")
    for name, size in (("small", 10), ("large", 5000)):
        (tmp_path / name / "trials" / "a").mkdir(parents=True)
        (tmp_path / name / "trials" / "a" / "checkpoint.pt").write_bytes(b"x")
        (tmp_path / name / "mlflow.db").write_bytes(os.urandom(size))
    monkeypatch.setattr(minutes, "LARGEST", 4000)
    written = pack(tmp_path, ["small", "large"], out)
    assert [path.name for path in written] == ["small.tar.xz", "said.tar.xz"]
    assert sorted(path.name for path in out.iterdir()) == ["said.tar.xz", "small.tar.xz"]
    with tarfile.open(written[0]) as archive:
        assert archive.getnames() == ["small/mlflow.db"]
    with tarfile.open(written[1]) as archive:
        assert archive.getnames() == ["one.txt"]


@pytest.mark.faults
def test_the_whole_command_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.benchmarks.minutes", "--device", "cpu", "--minutes", "12"]
    subprocess.run([*command, "--dir", str(tmp_path / "studies"), "--out", str(out)], check=True)
    ended = json.loads((out / "times.json").read_text())
    assert [(each["name"], each["status"]) for each in ended] == [("tests", 0), ("bench", 0), ("smoke", 0)]
    with tarfile.open(out / "smoke.tar.xz") as archive:
        assert {"smoke/mlflow.db", "smoke/report/index.html"} <= set(archive.getnames())
