"""A study with readings as a whole: left out, killed, resumed, topped up by one more, exported, seen in MLflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from study.collection import complete
from study.directory import Directory
from study.spec import load
from study.standing import counts
from study.store import Store, default_uri
from tests.study.commands import study

SPEC = """
name: left
question: Does it depend on what should not matter?
claims: [figure-1]
base: {model: {name: alexnet, width: 0.05}, data: {name: digits, validation: 0}, epochs: 2}
arms:
  sgd: {optimizer: {name: sgd, lr: 0.01, momentum: 0, nesterov: false}}
batch_sizes: [64, 256]
baseline: {arm: sgd, batch_size: 64}
confirm: {seeds: 3}
readings:
  torch: {model: {init: torch}}
"""
MORE = "  momentum: {arms: {sgd: {optimizer: {momentum: 0.9}}}}\n"
OF_RECORD = ["sgd/64", "sgd/256"]
TORCH, MOMENTUM = (["sgd@" + name + "/64", "sgd@" + name + "/256"] for name in ("torch", "momentum"))


def run(spec: Path, folder: Path, *options: str, kill: bool = False) -> None:
    """`study run`, in a process of its own; killed with its third trial where asked."""
    words = [sys.executable, "-m", "study.cli", "run", str(spec), "--dir", str(folder), *options]
    ran = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while kill and ran.poll() is None:
        if Directory(folder).begun and sum(count.done for count in counts(Directory(folder)).values()) >= 3:
            os.kill(ran.pid, signal.SIGKILL)
        time.sleep(0.2)
    _, err = ran.communicate()
    assert kill or ran.returncode == 0, err


def trials(folder: Path) -> pd.DataFrame:
    return Store(default_uri(folder), "left").trials()


@pytest.mark.faults
def test_a_study_goes_on_reading_by_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, folder = tmp_path / "left.yaml", tmp_path / "left"
    spec.write_text(SPEC)
    run(spec, folder, "--readings", "none")
    directory = Directory(folder)
    assert [name for name, count in counts(directory).items() if not count.left] == OF_RECORD
    assert complete(directory, load(str(spec)), "none")
    assert not complete(directory, load(str(spec)))
    verdicts = pd.read_csv(folder / "report" / "verdicts.csv")
    assert list(verdicts["reading"]) == ["record"]  # what has not run is not judged
    gaps, first = pd.read_csv(folder / "report" / "gap.csv"), trials(folder)

    spec.write_text(SPEC + MORE)  # one more reading, killed midway and run again
    run(spec, folder, kill=True)
    run(spec, folder)
    assert complete(directory, load(str(spec)))
    everything = trials(folder)
    assert dict(everything.groupby("cell").size()) == dict.fromkeys(OF_RECORD + TORCH + MOMENTUM, 3)
    assert set(first["run_id"]) <= set(everything["run_id"])  # no finished trial ran again
    pd.testing.assert_frame_equal(pd.read_csv(folder / "report" / "gap.csv"), gaps)  # the reading of record alone
    others = pd.read_csv(folder / "report" / "gap-readings.csv")
    assert list(zip(others["reading"], others["batch_size"], others["seeds"], strict=True)) == [
        ("torch", 64, 3), ("torch", 256, 3), ("momentum", 64, 3), ("momentum", 256, 3),
    ]  # fmt: skip
    assert set(others.loc[others["batch_size"] == 64, "gap_batch"]) == {0.0}  # each its own baseline
    verdicts = pd.read_csv(folder / "report" / "verdicts.csv")
    assert list(verdicts["reading"]) == ["record", "torch", "momentum"]
    page = (folder / "report" / "index.html").read_text()
    assert "of 2 other readings" in page or "in all 2 other readings" in page
    assert (folder / "report" / "figure-1-readings.svg").is_file()

    client = MlflowClient(default_uri(folder))
    experiment = client.get_experiment_by_name("left").experiment_id
    found = client.search_runs([experiment], "tags.reading = 'torch' and tags.phase = 'confirm'")
    assert {run.data.tags["cell"] for run in found} == set(TORCH)
    assert {run.data.params["model/init"] for run in found} == {"torch"}
    study(capsys, "export", folder, "--to", tmp_path / "trials.csv")
    exported = pd.read_csv(tmp_path / "trials.csv")
    assert dict(exported.groupby("reading").size()) == {"record": 6, "torch": 6, "momentum": 6}


def test_a_reading_that_the_spec_does_not_have_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "left.yaml").write_text(SPEC)
    ran = study(capsys, "run", tmp_path / "left.yaml", "--dir", tmp_path / "left", "--readings", "tourch")
    assert ran.status == 2
    assert "--readings = 'tourch': is no reading of this spec; all, none, or some of torch" in ran.err
    assert not (tmp_path / "left").exists()
