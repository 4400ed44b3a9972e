"""Collections: several studies in one directory, one Ray and one page."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
import yaml
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from study import collection as collections
from study import engine
from study.console import PlainConsole
from study.directory import CollectionDirectory, Directory
from study.outcome import Count
from study.progress import Display
from study.run import Failed
from study.schema import CellEnd, CellRun, Standing
from study.spec import Confirm, Spec, load, parse
from study.store import Store, default_uri
from study.stored import open_store
from tests.conftest import run_study
from tests.study.commands import SMOKE, study

ONE = """
extends: smoke
name: one
question: Does the first study run?
claims: [figure-1]
arms: {lars: null, sgd: {optimizer: {lr: 0.01, beta: 0}}}
base: {data: {validation: 0}}
search: {trials: 0}
"""
TWO = "extends: one.yaml\nname: two\nquestion: Does the second?\nclaims: []\nbatch_sizes: [16]\n"
BOTH = "name: both\nquestion: Do both run?\nstudies: [one.yaml, two.yaml]\nclaims: [figure-6]\n"


def write(folder: Path) -> Path:
    for name, text in (("one", ONE), ("two", TWO), ("both", BOTH)):
        (folder / f"{name}.yaml").write_text(text)
    return folder / "both.yaml"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> tuple[Path, Path, str]:
    """The collection's spec and directory after Ctrl-C in its first study, and what the command said then."""
    folder = tmp_path_factory.mktemp("collection")
    spec, directory = write(folder), folder / "both"
    command = [sys.executable, "-m", "study.cli", "run", str(spec), "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((directory / "one").glob("optuna.journal")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, out + err
    return spec, directory, err


@pytest.fixture(scope="module")
def both(stopped) -> tuple[Path, Path, str]:
    """The same after the command was given again, and what it said."""
    spec, directory, _ = stopped
    ran = run_study("run", spec, "--dir", directory)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return spec, directory, ran.stdout


def test_ctrl_c_stops_the_collection_and_says_how_to_go_on(stopped):
    spec, directory, said = stopped
    told = f"stopped; nothing that ended is lost. To go on: study run {spec} --dir {directory}"
    assert told.split() == said.split()


def test_every_study_runs_in_a_directory_of_its_own(both):
    _, directory, said = both
    assert "both: 2 studies, 2 to run" in said
    assert f"report: {directory / 'report' / 'index.html'}" in said
    assert yaml.safe_load((directory / "collection.yaml").read_text()) == {
        "name": "both", "question": "Do both run?", "studies": ["one", "two"], "claims": ["figure-6"],
    }  # fmt: skip
    for name in ("one", "two"):
        assert {"spec.yaml", "mlflow.db", "optuna.journal", "report"} <= {p.name for p in (directory / name).iterdir()}
    page = (directory / "report" / "index.html").read_text()
    assert "Do both run?" in page
    assert "figure-1" in page
    assert "figure-6" in page
    assert "figure-1" in said  # its verdict


def test_the_claims_are_a_tag_of_the_studys_experiment(both):
    claims = [Store(default_uri(both[1] / name), name).study().claims for name in ("one", "two")]
    assert claims == [("figure-1",), ()]


def test_a_complete_collection_is_not_run_again(capsys, both, monkeypatch):
    spec, directory, _ = both
    monkeypatch.setattr(collections, "run", None)
    monkeypatch.setattr(engine, "_start", None)
    result = study(capsys, "run", spec, "--dir", directory)
    assert result.status == 0, result.err
    assert "both: 2 studies, 0 to run" in result.out


def test_other_claims_are_no_other_study(both, monkeypatch):
    spec, directory, _ = both
    monkeypatch.setattr(engine, "_start", None)
    more = load(str(spec)).load()["two"].model_copy(update={"claims": ("figure-5",)})
    there = CollectionDirectory(directory).study("two")
    there.check(more)
    assert not collections.complete(there, more)


def begun(path: Path, storage: str | None = None) -> tuple[Directory, Spec, Store]:
    """A study that its store has accepted."""
    spec = parse(SMOKE.read_text(), "smoke")
    directory = Directory(path)
    path.mkdir()
    identity = directory.identity(None, storage)
    directory.begin(identity)
    store = open_store(spec.name, directory, identity, create=True)
    directory.accept(spec)
    return directory, spec, store


def test_completeness_is_what_the_store_says_wherever_the_search_is(tmp_path):
    """No journal and no page lie in the directory; the search's PostgreSQL is not even asked."""
    directory, spec, store = begun(tmp_path / "s", "postgresql+psycopg2://nobody@127.0.0.1:9/x")
    assert not collections.complete(directory, spec.model_copy(update={"question": "Another?"}))
    for stated in (True, False, True):
        store.describe(Standing(complete=stated))
        assert collections.complete(directory, spec) == stated
    larger = spec.model_copy(update={"confirm": Confirm(seeds=9)})
    assert not collections.complete(directory, larger)
    store.client.delete_experiment(store.experiment_id)
    assert not collections.complete(directory, spec)  # running it says what is wrong


def test_a_study_of_format_1_is_complete_where_all_trials_ended_and_all_cells_were_closed(tmp_path, monkeypatch):
    directory, spec, store = begun(tmp_path / "s")
    assert store.standing().complete is None
    cell = store.open_run(None, "c", CellRun(cell="sgd/16", arm="sgd", batch_size=16), {}, None)
    for left, status, expected in ((0, "running", False), (1, "complete", False), (0, "complete", True)):
        store.close(cell, CellEnd(status=status), {}, ok=True)
        monkeypatch.setattr(collections, "counts", lambda *_, left=left: {"sgd/16": Count(total=3, done=3 - left)})
        assert collections.complete(directory, spec) == expected


def test_a_larger_budget_withdraws_completeness_at_once(capsys, both, tmp_path, monkeypatch):
    copy = shutil.copytree(both[1] / "two", tmp_path / "copy")
    standing = Store(default_uri(copy), "two").standing()
    assert standing.complete
    assert 0 < standing.busy <= 1

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", stop)
    spec = both[0].with_name("two.yaml")
    assert study(capsys, "run", spec, "--dir", copy, "--set", "confirm/seeds=3").status == 130
    assert Store(default_uri(copy), "two").standing().complete is False


def test_status_tells_where_each_study_stands(capsys, both):
    _, directory, _ = both
    rows = json.loads(study(capsys, "status", directory, "--json").out)
    assert [(row["study"], row["cell"], row["done"], row["total"]) for row in rows] == [
        ("one", "sgd/16", 2, 2), ("one", "sgd/64", 2, 2), ("two", "sgd/16", 2, 2),
    ]  # fmt: skip
    lines = study(capsys, "status", directory).out.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["one", "2/2", "4/4"], ["two", "1/1", "2/2"]]


def test_export_is_one_table_with_a_column_for_the_study(capsys, both, tmp_path):
    _, directory, _ = both
    assert study(capsys, "export", directory, "--to", tmp_path / "all.csv").status == 0
    table = pd.read_csv(tmp_path / "all.csv")
    assert table.columns[0] == "study"
    assert list(table["study"].value_counts().sort_index()) == [4, 2]


def test_report_writes_the_common_page_again(capsys, both, tmp_path):
    copy = shutil.copytree(both[1], tmp_path / "copy")
    for folder in (copy, copy / "one"):
        shutil.rmtree(folder / "report")
    assert study(capsys, "report", copy).status == 0
    assert (copy / "report" / "index.html").is_file()
    assert (copy / "one" / "report" / "index.html").is_file()


def test_check_counts_the_trials_of_each_study(capsys, tmp_path):
    out = " ".join(study(capsys, "check", write(tmp_path)).out.split())
    assert "one 2 4 " in out
    assert "two 1 2 " in out
    assert "both is valid: 2 studies, 6 trials, " in out
    assert not (tmp_path / "studies").exists()


REFUSED = [
    ("a study's directory", ("run", "{spec}", "--dir", "{both}/one"), r"--dir = .*: holds a study; use another --dir"),
    ("a collection's directory", ("run", "smoke", "--dir", "{both}"), r"--dir = .*: holds a collection of studies"),
    ("another collection", ("run", "beyond", "--scale", "small", "--dir", "{both}"),
     r"name = 'beyond-small': the collection in .* is 'both'; use another --dir"),
    ("another study of that name", ("run", "{spec}", "--dir", "{both}", "--set", "base/epochs=1"),
     r"epochs = 1: the study in .*/one was run with 2"),
    ("a study that does not fit", ("run", "{spec}", "--dir", "{tmp}/x", "--set", "batch_sizes=[16, 999]"),
     r"one/arms/sgd/batch_size = 999: the training split has 240 images"),
    ("the UI of a collection", ("ui", "{both}"), r"DIR = .*: holds a collection; name one of its studies"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "pattern"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_request_is_refused(capsys, both, tmp_path, words, pattern):
    places = {"spec": both[0], "both": both[1], "tmp": tmp_path}
    result = study(capsys, *(word.format(**places) for word in words))
    assert result.status == 2, result.out
    assert "Traceback" not in result.err
    assert re.search(pattern, " ".join(result.err.split())), result.err
    assert not (tmp_path / "x").exists()


def test_a_damaged_collection_is_named(capsys, both, tmp_path):
    copy = shutil.copytree(both[1], tmp_path / "copy")
    (copy / "collection.yaml").write_text("name: [")
    result = study(capsys, "status", copy)
    assert (result.status, "is not valid YAML" in result.err) == (2, True)


def test_a_study_that_fails_does_not_keep_the_others_from_running(tmp_path, monkeypatch):
    ran = []

    def run(spec, *_, **__):
        ran.append(spec.name)
        if spec.name == "one":
            raise Failed("a trial failed")

    monkeypatch.setattr(collections, "run", run)
    monkeypatch.setattr(engine, "connected", lambda *_: nullcontext())
    spec = load(str(write(tmp_path)))
    directory = CollectionDirectory(tmp_path / "out")
    display = lambda name, _: Display(PlainConsole(), name, 1)  # noqa: E731
    with pytest.raises(Failed, match=r"1 of 2 studies failed\none: a trial failed"):
        collections.run_all(spec, spec.load(), directory, engine.Machine(), None, display)
    assert ran == ["one", "two"]
    assert (directory.report / "index.html").is_file()


def test_a_study_that_fails_before_it_names_a_cell_hides_no_reason(tmp_path, monkeypatch):
    spec = load(str(write(tmp_path)))
    directory = CollectionDirectory(tmp_path / "out")

    def run(spec, directory, *_, **__):
        directory.path.mkdir(exist_ok=True)
        identity = directory.identity(None)
        directory.begin(identity)
        open_store(spec.name, directory, identity, create=True)
        directory.accept(spec)
        raise Failed("the disk is full")

    monkeypatch.setattr(collections, "run", run)
    monkeypatch.setattr(engine, "connected", lambda *_: nullcontext())
    display = lambda name, _: Display(PlainConsole(), name, 1)  # noqa: E731
    with pytest.raises(Failed, match=r"2 of 2 studies failed\none: the disk is full\ntwo: the disk is full"):
        collections.run_all(spec, spec.load(), directory, engine.Machine(), None, display)


@pytest.mark.parametrize("which", ["a study", "a collection"])
def test_ctrl_c_in_a_librarys_clean_up_is_ctrl_c(capsys, tmp_path, monkeypatch, which):
    lock = JournalFileSymlinkLock(str(tmp_path / "journal"))

    def interrupted(*_):
        try:
            raise KeyboardInterrupt
        except BaseException:
            lock.release()  # as Optuna's `acquire` does, which has no lock yet
            raise

    monkeypatch.setattr(JournalFileBackend, "append_logs", interrupted)
    monkeypatch.setattr(engine, "connected", lambda *_: nullcontext())
    directory = tmp_path / "out"
    spec = write(tmp_path)
    result = study(capsys, "run", spec if which == "a collection" else spec.with_name("one.yaml"), "--dir", directory)
    assert (result.status, "stopped; nothing that ended is lost" in result.err) == (130, True), result.err
    assert not list(directory.rglob("error.log"))
