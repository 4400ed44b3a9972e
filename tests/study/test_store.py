from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from study.drivers import database_file
from study.schema import CellRun, Study, TrialEnd, TrialRun
from study.store import Record, Store, default_uri
from trainables.errors import Refused

CELL = CellRun(cell="sgd/16", arm="sgd", batch_size=16, searched=("optimizer/lr",))
TRIAL = TrialRun(
    cell="sgd/16", arm="sgd", batch_size=16, searched=("optimizer/lr",), phase="search", trial=0, seed=7,
    config_hash="abc",
)  # fmt: skip
COMPLETE = TrialEnd(status="complete")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(default_uri(tmp_path), "mine", create=tmp_path, study_id="one")


def test_a_metric_is_written_once_for_each_step(store):
    record = store.open_run(None, "t", TRIAL, {"optimizer/lr": 0.1}, None)
    rows = [(1, {"train/loss": 3.0}), (2, {"train/loss": 2.0})]
    store.log(record, rows)
    store.log(record, [*rows, (3, {"train/loss": 1.0})])
    history = store.client.get_metric_history(record.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_run_is_found_again_by_its_tags_and_goes_on_after_its_last_step(store):
    record = store.open_run(None, "t", TRIAL, {}, None)
    store.log(record, [(epoch, {"train/loss": 1.0}) for epoch in (1, 2, 3)])
    known = store.runs()["sgd/16", "search", "abc"]
    assert store.open_run(known, "t", TRIAL, {}, None) == Record(record.run_id, last_step=3)
    assert len(store.runs()) == 1


def test_closing_twice_writes_final_metrics_once(store):
    record = store.open_run(None, "t", TRIAL, {}, None)
    store.log(record, [(1, {"train/loss": 1.0})])
    for _ in range(2):
        store.close(record, COMPLETE, {"test/accuracy": 0.5}, ok=True)
    history = store.client.get_metric_history(record.run_id, "test/accuracy")
    assert [(point.step, point.value) for point in history] == [(1, 0.5)]
    assert store.client.get_run(record.run_id).info.status == "FINISHED"


@pytest.mark.parametrize("late_first", [True, False])
def test_of_two_runs_of_one_trial_the_one_that_ended_counts_and_the_other_goes(store, late_first):
    """Two drivers made one each at one moment, when the second took the study over from the first."""
    late = store.open_run(None, "t", TRIAL, {}, None) if late_first else None
    ours = store.open_run(None, "t", TRIAL, {}, None)
    store.close(ours, COMPLETE, {"test/accuracy": 0.5}, ok=True, rows=[(1, {"train/loss": 1.0})])
    late = late or store.open_run(None, "t", TRIAL, {}, None)
    parents = [store.open_run(None, "sgd/16", CELL, {}, None) for _ in range(2)]
    assert store.runs()["sgd/16", "search", "abc"].info.run_id == ours.run_id
    assert list(store.trials()["run_id"]) == [ours.run_id]
    assert list(store.cells()["run_id"]) == [parents[0].run_id]
    assert store.doubles == {late.run_id, parents[1].run_id}
    store.delete_doubles()
    assert store.doubles == set()
    left = store.client.search_runs([store.experiment_id])
    assert {run.info.run_id for run in left} == {ours.run_id, parents[0].run_id}


def test_an_epoch_that_two_drivers_wrote_at_one_moment_is_one(store):
    ours = store.open_run(None, "t", TRIAL, {}, None)
    other = replace(ours, stamps={1: 5})
    for record in (ours, other):
        store.log(record, [(1, {"train/loss": 1.0})])
    assert len(store.client.get_metric_history(ours.run_id, "train/loss")) == 2
    assert store.curves([ours.run_id], ["train/loss"]).to_dict("list")["epoch"] == [1]


def test_a_short_trial_is_whole_after_one_request(store):
    record = store.open_run(None, "t", TRIAL, {"optimizer/lr": 0.1}, None)
    rows = [(1, {"train/loss": 3.0, "val/accuracy": 0.5}), (2, {"train/loss": 2.0, "val/accuracy": 0.6})]
    store.close(record, COMPLETE, {"val/accuracy": 0.6, "test/accuracy": 0.4}, ok=True, rows=rows)
    points = store.curves([record.run_id], ["train/loss", "val/accuracy", "test/accuracy"])
    assert list(points["value"]) == [3.0, 2.0, 0.5, 0.6, 0.4]
    assert list(points["epoch"]) == [1, 2, 1, 2, 2]
    run = store.client.get_run(record.run_id)
    assert (run.data.params, run.data.tags["status"]) == ({"optimizer/lr": "0.1"}, "complete")


def test_a_run_cut_off_before_its_first_metrics_gets_its_parameters(store):
    store.open_run(None, "t", TRIAL, {"optimizer/lr": 0.1}, None)
    known = store.runs()["sgd/16", "search", "abc"]
    record = store.open_run(known, "t", TRIAL, {"optimizer/lr": 0.1, "optimizer/beta": 0.0}, None)
    store.log(record, [(1, {"train/loss": 1.0})])
    assert store.client.get_run(record.run_id).data.params == {"optimizer/lr": "0.1", "optimizer/beta": "0.0"}


def test_more_metrics_than_one_request_takes(store):
    record = store.open_run(None, "t", TRIAL, {}, None)
    store.log(record, [(epoch, {f"probe/radius/{layer}": 1.0 for layer in range(30)}) for epoch in range(1, 51)])
    assert len(store.curves([record.run_id], ["probe/radius/7"])) == 50
    store.log(record, [(51, {f"probe/radius/{layer}": 2.0 for layer in range(1700)})])
    assert len(store.client.get_run(record.run_id).data.metrics) == 1700


def test_reading_gives_numbers_as_numbers_and_parents_apart(store):
    parent = store.open_run(None, "c", CELL, {}, None)
    record = store.open_run(None, "t", TRIAL, {"optimizer/lr": 1e-5, "model/name": "alexnet"}, parent.run_id)
    store.log(record, [(1, {"val/accuracy": 0.5})])
    (trial,) = store.trials().to_dict("records")
    assert (trial["optimizer/lr"], trial["batch_size"], trial["val/accuracy"]) == (1e-5, 16, 0.5)
    assert (trial["model/name"], trial["config_hash"]) == ("alexnet", "abc")
    assert list(store.cells()["run_id"]) == [parent.run_id]


def test_a_hash_of_digits_stays_text(store):
    store.open_run(None, "t", replace(TRIAL, config_hash="0012"), {}, None)
    assert list(store.trials()["config_hash"]) == ["0012"]


@pytest.mark.usefixtures("store")
def test_an_experiment_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"study = 'other': the store at .* holds no experiment of this name; run the"):
        Store(default_uri(tmp_path), "other")


def test_a_deleted_experiment_is_refused(tmp_path, store):
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(Refused, match=r"study = 'mine': the store at .* is deleted; .*restore it"):
        Store(default_uri(tmp_path), "mine", create=tmp_path, study_id="one")


@pytest.mark.usefixtures("store")
def test_the_experiment_of_another_directory_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"name = 'mine': .* from another directory; rename this one with --set name="):
        Store(default_uri(tmp_path), "mine", create=tmp_path, study_id="two")


ODD = ("a?b", "a#b", "a%41b", "a%b", "a b", "a:b", "a@b", "é–ü", "a&b=c;d", "x?uri=true", "a+b'c")


@pytest.mark.parametrize("name", ["plain", *ODD])
def test_the_stores_address_leads_back_to_its_file(tmp_path, name):
    assert database_file(default_uri(tmp_path / name)) == tmp_path.resolve() / name / "mlflow.db"


def test_a_directory_may_have_any_name(tmp_path):
    folder = tmp_path / "a?b #c %41 d:e@f é&g=h"
    folder.mkdir()
    store = Store(default_uri(folder), "mine", create=folder)
    store.describe(Study(question="why? " * 2000))
    (run,) = store.client.search_runs([store.experiment_id])
    (artifact,) = store.client.list_artifacts(run.info.run_id, "facts")
    assert Path(store.client.download_artifacts(run.info.run_id, artifact.path)).read_text() == "why? " * 2000
    assert Store(default_uri(folder), "mine").study().question == "why? " * 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["artifacts", "mlflow.db"]
    store.hold()
    store.check()


def test_other_stores_have_no_file():
    assert database_file("http://127.0.0.1:5000") is None
    assert database_file("postgresql://me@host/db") is None
    assert database_file("sqlite:///file:/x/a%3Fb.db?uri=true") == Path("/x/a?b.db")


def test_first_contact_restores_the_patience_it_shortened(tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    Store(default_uri(tmp_path), "mine", create=tmp_path)
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "9"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "30"


def test_params_are_immutable_so_a_reopened_run_keeps_its_own(store):
    record = store.open_run(None, "t", TRIAL, {"optimizer/lr": 0.1}, None)
    store.log(record, [(1, {"train/loss": 1.0})])
    known = store.runs()["sgd/16", "search", "abc"]
    store.log(store.open_run(known, "t", TRIAL, {"optimizer/lr": 0.2}, None), [(2, {"train/loss": 1.0})])
    assert store.client.get_run(record.run_id).data.params == {"optimizer/lr": "0.1"}
    with pytest.raises(MlflowException, match="lr"):
        store.client.log_param(record.run_id, "optimizer/lr", 0.2)
