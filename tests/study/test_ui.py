"""`study ui` starts a real MLflow server, and the link it prints opens the study."""

from __future__ import annotations

import json
import os
import re
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
from mlflow import MlflowClient

from study import landing
from study.store import Store, default_uri


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_ui_serves_the_study_on_loopback(smoke, tmp_path):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "study.cli", "ui", str(smoke), "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        link = server.stdout.readline().strip()
        assert link.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        assert link.endswith("/runs?workflowType=machine_learning&viewStateShareKey=cells")
        experiment = link.split("/experiments/")[1].split("/")[0]
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
        found = json.loads(patient(address, server))["experiment"]
        assert found["name"] == "smoke"
        tags = {tag["key"]: tag["value"] for tag in found["tags"]}
        told = tags["mlflow.note.content"]
        assert told.startswith("**Does everything work together? Seconds, for tests.** At batch size 64, ")
        if chromium := shutil.which("chromium") or shutil.which("google-chrome"):
            _opens_on_the_cells(chromium, link, tmp_path)
            assert f"](#/experiments/{experiment}/runs/{tags['report_run']}/artifacts/report/index.html)" in told
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=30)


def _opens_on_the_cells(chromium: str, link: str, tmp_path: Path) -> None:
    """Question and answer, then a row a cell with its gaps, and no trial among them."""
    seen = opened(chromium, link, tmp_path)
    assert "Does everything work together?" in seen
    assert "At batch size 64, " in seen
    assert all(f">{cell}<" in seen for cell in ("sgd/16", "sgd/64", "lars/16", "lars/64"))
    assert all(column in seen for column in ("gap/batch", "gap/own", "test/accuracy"))
    assert "4 matching runs" in text(seen)
    assert "12 matching runs" in text(opened(chromium, link.replace("=cells", "=counts"), tmp_path))  # below 4 cells


def text(document: str) -> str:
    return re.sub("<[^>]+>", "", document)


def opened(chromium: str, address: str, tmp_path: Path) -> str:
    """The page as it stands after its scripts have run."""
    return subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=1700,1200", "--virtual-time-budget=30000", "--dump-dom", address],
        capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip


def test_the_report_is_attached_where_mlflow_looks_for_it(smoke):
    client = MlflowClient(default_uri(smoke))
    experiment = client.get_experiment_by_name("smoke")
    run = client.get_run(experiment.tags["report_run"])
    (page,) = client.list_artifacts(run.info.run_id, "report")
    assert page.path == "report/index.html"
    copy = Path(smoke, "artifacts", run.info.run_id, "artifacts", page.path)
    assert copy.read_text() == (smoke / "report" / "index.html").read_text()


def test_a_description_that_a_person_wrote_stays(tmp_path):
    store = Store(default_uri(tmp_path), "mine", create=tmp_path, study_id="one")
    store.present("Why?", ["Because."])
    said = store.client.get_experiment(store.experiment_id).tags[landing.DESCRIPTION]
    assert said.startswith("**Why?** Because.\n\n[the cells](#/experiments/")
    assert "report" not in said
    store.present("Why?", ["Another reason."])
    assert "Another" in store.client.get_experiment(store.experiment_id).tags[landing.DESCRIPTION]
    store.client.set_experiment_tag(store.experiment_id, landing.DESCRIPTION, "our second try")
    store.present("Why?", ["Because."])
    tags = store.client.get_experiment(store.experiment_id).tags
    assert tags[landing.DESCRIPTION] == "our second try"
    assert json.loads(tags["mlflow.sharedViewState.counts"])["searchFilter"] == "tags.counts = 'true'"


def test_a_cells_run_holds_what_is_fixed_in_it_and_what_its_search_found(smoke):
    client = MlflowClient(default_uri(smoke))
    experiment = client.get_experiment_by_name("smoke").experiment_id
    cells = client.search_runs([experiment], "tags.phase = 'cell'")
    for cell in cells:
        (one, *_) = client.search_runs(
            [experiment], f"tags.phase = 'confirm' and tags.cell = '{cell.data.tags['cell']}' and tags.counts = 'true'"
        )
        searched = json.loads(cell.data.tags["searched"])
        assert {key: one.data.params[key] for key in cell.data.params} == cell.data.params
        assert set(one.data.params) - set(cell.data.params) == {*searched, "seed"}
        best = {key.removeprefix("best/"): x for key, x in cell.data.metrics.items() if key.startswith("best/")}
        assert best == pytest.approx({key: float(one.data.params[key]) for key in searched})


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
        seen = opened(chromium, address, tmp_path)
        assert all(f"{cell}" in seen for cell in ("sgd/16", "sgd/64", "lars/16", "lars/64"))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
