"""Whole studies on a local Ray: what is stored, and that slots, kills and restarts change none of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from scipy import stats

from study.directory import Directory, LockFile
from study.owner import Owner
from study.standing import counts
from study.store import Store, default_uri
from tests.conftest import run_study
from tests.study.commands import study
from tests.study.compare import histories, same, trials


def test_the_command_prints_the_gap_table_and_the_reports_path(smoke_run):
    folder, ran = smoke_run
    assert "generalization gap" in ran.stdout
    assert f"report: {folder / 'report' / 'index.html'}" in ran.stdout
    assert (folder / "report" / "index.html").stat().st_size > 100_000
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "artifacts", "mlflow.db", "optuna.journal", "report", "spec.yaml", "store.yaml", "trials",
    ]  # fmt: skip
    assert not [path for path in (folder / "trials").rglob("*") if path.is_file()]
    assert not ran.stderr


def test_mlflow_holds_what_the_contract_says(smoke):
    client = MlflowClient(default_uri(smoke))
    experiment = client.get_experiment_by_name("smoke")
    everything = client.search_runs([experiment.experiment_id], max_results=1000)
    runs = [run for run in everything if "phase" in run.data.tags]
    assert [run.info.run_name for run in everything if run not in runs] == ["report"]
    cells = {run.info.run_id: run for run in runs if run.data.tags["phase"] == "cell"}
    children = [run for run in runs if run.info.run_id not in cells]
    assert {run.data.tags["cell"] for run in cells.values()} == {"sgd/16", "sgd/64", "lars/16", "lars/64"}
    assert len(children) == 4 * (3 + 2)
    for run in cells.values():
        assert {"cell", "arm", "batch_size", "phase"} <= set(run.data.tags)
        assert {"gap/batch", "gap/train_test"} <= set(run.data.metrics)  # two seeds have no interval
    for run in children:
        tags, metrics, params = run.data.tags, run.data.metrics, run.data.params
        parent = cells[tags["mlflow.parentRunId"]].data.tags
        assert all(tags[key] == parent[key] for key in ("cell", "arm", "batch_size"))
        assert {"trial", "seed", "status", "config_hash", "git_commit"} <= set(tags)
        assert (tags["status"], run.info.status) == ("complete", "FINISHED")
        assert params["optimizer/name"] == tags["arm"]
        assert params["batch_size"] == tags["batch_size"]
        assert params["seed"] == tags["seed"]
        tested = {"test/loss", "test/accuracy", "test/chance", "gap/train_test"}
        trained = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "time/train_seconds"}
        told = {"time/trial_seconds"}
        assert set(metrics) == trained | told | (tested if tags["phase"] == "confirm" else set())
        for key in trained:
            assert [p.step for p in client.get_metric_history(run.info.run_id, key)] == [1, 2]
        for key in set(metrics) & (tested | told):
            assert [p.step for p in client.get_metric_history(run.info.run_id, key)] == [2]
    confirm_seeds = {}
    for run in children:
        if run.data.tags["phase"] == "confirm":
            confirm_seeds.setdefault(run.data.tags["cell"], set()).add(run.data.tags["seed"])
    assert set(map(frozenset, confirm_seeds.values())) == {frozenset({"0", "1"})}


@pytest.fixture(scope="module")
def of_three_seeds(smoke, tmp_path_factory) -> Path:
    """The smoke study, topped up to the three confirm seeds that an interval needs."""
    folder = shutil.copytree(smoke, tmp_path_factory.mktemp("three") / "study")
    ran = run_study("run", "smoke", "--dir", folder, "--set", "confirm/seeds=3")
    assert ran.returncode == 0, ran.stderr
    return folder


def test_seeds_that_were_looked_at_before_the_top_up_decide_nothing(smoke, of_three_seeds):
    looked = [Store(default_uri(folder), "smoke").standing().looked for folder in (smoke, of_three_seeds)]
    assert looked == [None, 2]
    page = (of_three_seeds / "report" / "index.html").read_text()
    assert "2 seeds were there to be looked at before more were asked for" in page
    assert "With 1 seed " in page


def on_logits(sample: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Student's t interval of a mean between `low` and `high`, by the delta method on the logit scale."""
    share = (sample.mean() - low) / (high - low)
    error = sample.std(ddof=1) / np.sqrt(len(sample)) / (high - low)
    reach = stats.t.ppf(0.975, len(sample) - 1) * error / (share * (1 - share))
    ends = 1 / (1 + np.exp(-(np.log(share / (1 - share)) + np.array([-reach, reach]))))
    return tuple(low + (high - low) * ends)


def test_the_gap_table_can_be_rebuilt_from_mlflow_alone(of_three_seeds):
    """With numpy and scipy, from the confirm runs alone; equal to the report's and to the parents' metrics."""
    smoke = of_three_seeds
    client = MlflowClient(default_uri(smoke))
    experiment = client.get_experiment_by_name("smoke")
    runs = client.search_runs([experiment.experiment_id], "tags.phase = 'confirm'", max_results=1000)
    accuracy = {}
    fitted = {}
    for run in runs:
        seed, cell = run.data.tags["seed"], run.data.tags["cell"]
        accuracy.setdefault(cell, {})[seed] = run.data.metrics["test/accuracy"]
        fitted.setdefault(cell, []).append(run.data.metrics["gap/train_test"])
    baseline = accuracy[experiment.tags["baseline"]]
    table = pd.read_csv(smoke / "report" / "gap.csv")
    assert list(table.columns) == [
        "arm", "batch_size", "seeds", "diverged", "test_accuracy", "test_low", "test_high",
        "gap_batch", "gap_batch_low", "gap_batch_high", "gap_train_test",
    ]  # fmt: skip
    parents = client.search_runs([experiment.experiment_id], "tags.phase = 'cell'")
    metrics = {run.data.tags["cell"]: run.data.metrics for run in parents}
    assert len(table) == len(accuracy) == 4
    for row in table.to_dict("records"):
        cell = f"{row['arm']}/{row['batch_size']}"
        values = np.array(list(accuracy[cell].values()))
        gaps = np.array([baseline[seed] - accuracy[cell][seed] for seed in accuracy[cell]])
        for sample, mean, low, high, least in (
            (values, "test_accuracy", "test_low", "test_high", 0),
            (gaps, "gap_batch", "gap_batch_low", "gap_batch_high", -1),
        ):
            assert row[mean] == pytest.approx(sample.mean(), abs=1e-12)
            assert (row[low], row[high]) == pytest.approx(on_logits(sample, least, 1), abs=1e-12)
        assert row["gap_train_test"] == pytest.approx(np.mean(fitted[cell]), abs=1e-12)
        assert metrics[cell]["gap/batch"] == pytest.approx(row["gap_batch"], abs=1e-12)
        assert metrics[cell]["gap/batch_low"] == pytest.approx(row["gap_batch_low"], abs=1e-12)
        assert (row["seeds"], row["diverged"]) == (3, 0)


@pytest.mark.parametrize("slots", [1, 4])
def test_one_slot_and_four_give_the_same_study_as_two(smoke, tmp_path, slots):
    ran = run_study("run", "smoke", "--dir", tmp_path / "s", "--slots", slots)
    assert ran.returncode == 0, ran.stderr
    same(tmp_path / "s", smoke)


def test_another_seed_gives_other_trials(smoke, tmp_path):
    ran = run_study("run", "smoke", "--dir", tmp_path / "other", "--set", "search/seed=1")
    assert ran.returncode == 0, ran.stderr
    other, first = trials(tmp_path / "other"), trials(smoke)
    assert len(other) == len(first)
    assert not set(other["config_hash"]) & set(first.loc[first["phase"] == "search", "config_hash"])


def start(folder: Path, words: Sequence[str] = ("smoke",)) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "study.cli", "run", *words, "--dir", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def ended(folder: Path) -> int:
    """Trials that have ended so far; reads beside the running study, as `study status` does."""
    found = counts(Directory(folder)) if (folder / "spec.yaml").exists() else {}
    return sum(count.done for count in found.values())


def wait_for(folder: Path, process: subprocess.Popen[str], trials_ended: int) -> None:
    while ended(folder) < trials_ended:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def test_a_study_killed_half_way_and_started_again_is_the_same(smoke, tmp_path):
    folder = tmp_path / "killed"
    for at in (3, 11):
        process = start(folder)
        wait_for(folder, process, at)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert ended(folder) < 20
    ran = run_study("run", "smoke", "--dir", folder)
    assert ran.returncode == 0, ran.stderr
    same(folder, smoke)


PRUNED = [
    "search/trials=5", "search/window=3", "search/sampler=random", "search/pruner={name: asha, reduction_factor: 2}",
    "search/prune_biased=true", "search/widen=true", "search/repeat={sgd/16: 2}", "base/epochs=3", "confirm/seeds=1",
]  # fmt: skip


@pytest.mark.faults
def test_pruning_widening_and_repeats_depend_on_neither_slots_nor_kills(tmp_path):
    words = ["run", "smoke", *(word for override in PRUNED for word in ("--set", override)), "--dir"]
    ran = run_study(*words, tmp_path / "calm", "--slots", 1)
    assert ran.returncode == 0, ran.stderr
    killed = tmp_path / "killed"
    process = start(killed, words[1:-1])
    wait_for(killed, process, 6)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    ran = run_study(*words, killed, "--slots", 2)
    assert ran.returncode == 0, ran.stderr
    same(killed, tmp_path / "calm")
    found = trials(killed)
    assert set(found["status"]) >= {"complete", "pruned"}
    pruned = found[found["status"] == "pruned"]
    assert set(pruned["phase"]) == {"search"}
    steps = {place[:3]: len(points) for place, points in histories(killed).items() if place[-1] == "val/accuracy"}
    for row in pruned.itertuples():
        assert steps[row.cell, row.phase, str(row.trial)] == int(row.pruned_epoch) < 3
    assert {count.total for count in counts(Directory(killed)).values()} == {found.groupby("cell").size().max()}
    cells = Store(default_uri(killed), "smoke").cells().set_index("cell")
    assert set(cells["pruning"]) == {"asha"}
    assert "sgd~1/16" in cells.index


@pytest.mark.faults
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(smoke, tmp_path):
    folder = tmp_path / "stopped"
    process = start(folder)
    wait_for(folder, process, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "stopped; nothing that ended is lost. To go on: study run smoke --dir" in " ".join(err.split())
    assert "Traceback" not in out + err
    ran = run_study("run", "smoke", "--dir", folder)
    assert ran.returncode == 0, ran.stderr
    same(folder, smoke)


def test_running_a_finished_study_again_changes_nothing(capsys, smoke):
    before, points = trials(smoke), histories(smoke)
    result = study(capsys, "run", "smoke", "--dir", smoke)
    assert result.status == 0
    assert "report:" in result.out
    pd.testing.assert_frame_equal(trials(smoke), before)
    assert histories(smoke) == points


def test_more_seeds_and_another_arm_top_up_a_copy_that_was_moved(smoke, tmp_path):
    copy = shutil.copytree(smoke, tmp_path / "elsewhere")
    more = [
        "--set",
        "confirm/seeds=3",
        "--set",
        "arms/lamb={optimizer: {name: lamb, gamma: 0.001, momentum: 0.9, beta: 0}}",
    ]
    ran = run_study("run", "smoke", "--dir", copy, *more)
    assert ran.returncode == 0, ran.stderr
    assert "confirm/seeds 2 → 3: those that are there stay; if they were looked at" in " ".join(ran.stdout.split())
    assert "search/trials" not in ran.stdout
    after, before = trials(copy), trials(smoke)
    kept = after.merge(before[["cell", "phase", "trial", "config_hash"]])
    assert len(kept) == len(before)
    assert set(after.loc[after["phase"] == "confirm", "seed"]) == {0, 1, 2}
    assert set(after["cell"]) - set(before["cell"]) == {"lamb/16", "lamb/64"}
    assert set(after.loc[after["arm"] == "lamb", "phase"]) == {"confirm"}
    assert list(pd.read_csv(copy / "report" / "gap.csv")["seeds"]) == [3] * 6


def test_status_counts_each_cell(capsys, smoke):
    result = study(capsys, "status", smoke, "--json")
    rows = json.loads(result.out)
    assert [row["cell"] for row in rows] == ["sgd/16", "sgd/64", "lars/16", "lars/64"]
    assert all((row["done"], row["total"], row["running"], row["failed"]) == (5, 5, 0, 0) for row in rows)
    best = trials(smoke).query("phase == 'search'").groupby("cell")["val/accuracy"].max()
    assert all(row["best"] == best[row["cell"]] for row in rows)
    said = study(capsys, "status", smoke).out
    assert "sgd/16" in said
    assert "at work" not in said
    assert "to go on" not in said


def test_status_of_a_killed_run_says_that_it_stopped_and_how_to_go_on(capsys, smoke, tmp_path):
    copy = shutil.copytree(smoke, tmp_path / "s p")
    spec = copy / "spec.yaml"
    spec.write_text(spec.read_text().replace("seeds: 2", "seeds: 3"))
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    lock = LockFile(copy / ".lock")
    lock.write(Owner(str(copy), pid=int(dead.stdout)).text)
    said = study(capsys, "status", copy).out
    assert f"stopped before its end; to go on: study run '{copy}/spec.yaml' --dir '{copy}'" in said
    lock.write(Owner(str(copy)).text)  # this very process
    said = study(capsys, "status", copy).out
    assert f"at work: process {os.getpid()} on " in said
    assert "to go on" not in said
    lock.close()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_is_one_table_of_every_trial(capsys, smoke, tmp_path, suffix):
    target = tmp_path / f"trials.{suffix}"
    assert study(capsys, "export", smoke, "--to", target).status == 0
    table = pd.read_csv(target) if suffix == "csv" else pd.read_parquet(target)
    assert len(table) == 20
    assert {"cell", "phase", "status", "optimizer/lr", "optimizer/gamma", "val/accuracy", "test/accuracy"} <= set(table)
    means = table[table["counts"]].groupby("cell")["test/accuracy"].mean()
    rows = pd.read_csv(smoke / "report" / "gap.csv")
    shown = {f"{row.arm}/{row.batch_size}": row.test_accuracy for row in rows.itertuples()}
    assert means.to_dict() == pytest.approx(shown)


def test_one_filter_in_mlflow_shows_the_runs_that_count(smoke):
    client = MlflowClient(default_uri(smoke))
    experiment = client.get_experiment_by_name("smoke").experiment_id
    runs = client.search_runs([experiment], "tags.counts = 'true'")
    assert sorted((run.data.tags["cell"], run.data.tags["seed"]) for run in runs) == sorted(
        (f"{arm}/{n}", str(seed)) for arm in ("sgd", "lars") for n in (16, 64) for seed in (0, 1)
    )
    assert {run.data.tags["phase"] for run in runs} == {"confirm"}
    others = client.search_runs([experiment], "tags.phase = 'search'")
    assert {run.data.tags["counts"] for run in others} == {"false"}
    assert {(run.data.tags["host"], run.data.tags["device"]) for run in (*runs, *others)} == {
        (socket.gethostname(), "cpu")
    }


def test_report_can_be_written_again(capsys, smoke, tmp_path):
    copy = shutil.copytree(smoke, tmp_path / "copy")
    shutil.rmtree(copy / "report")
    assert study(capsys, "report", copy).status == 0
    assert (copy / "report" / "gap.csv").read_text() == (smoke / "report" / "gap.csv").read_text()


def test_check_prints_cells_and_an_estimate_and_runs_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = study(capsys, "check", "smoke")
    assert result.status == 0
    assert "smoke is valid: 4 cells, 20 trials, 260 training steps, 6,080 images; roughly" in " ".join(
        result.out.split()
    )
    assert not list(tmp_path.iterdir())


def test_list_names_every_built_in_spec_with_its_question(capsys):
    out = study(capsys, "list").out
    assert all(name in out for name in ("quickstart ", "cifar10 *", "smoke ", "paper *", "figure-3 *", "section-5.2 *"))
    assert "* has a small twin: --scale small" in out
    assert "How much accuracy do large batches cost" in out


def test_data_prepares_a_set_and_counts_its_images(capsys):
    assert "digits: 1293 training, 144 validation and 360 test images" in study(capsys, "data", "digits").out
