"""The store's schema: what is written is read back whole, whatever its length, and as format 1 wrote it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

from reports.html import write
from study import schema
from study.ledger import Ledger
from study.patience import Patience
from study.plan import cells
from study.recorder import Recorder
from study.run import described
from study.schema import (
    CellEnd,
    CellRun,
    Identity,
    Pointer,
    Standing,
    Study,
    Tags,
    TrialEnd,
    TrialRun,
    safe_key,
    whole_key,
)  # fmt: skip
from study.spec import Spec
from study.storage import open_storage
from study.store import Store, default_uri, passes
from trainables.errors import Refused

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


# Tags


def full(kind: type[Tags]) -> Tags:
    """With every field set to something that a careless form would break."""
    odd = {
        "TEXT": "a, b; \"c\"\n[é]", "WHOLE": 3, "NUMBER": 0.1, "TRUTH": True, "NAMES": ("a,b", "[c]", "d;e", ""),
        "SENTENCES": ("optimizer/lr = 1, at the end; truly",), "TABLE": {"a": 1, "b, c": "é"},
        "TABLES": ({"torch": "2.11.0"}, {}),
    }  # fmt: skip
    names = {id(getattr(schema, name)): name for name in odd}
    return kind(**{each.name: odd[names[id(each.metadata["kind"])]] for each in fields(kind)})


@pytest.mark.parametrize("kind", [Identity, Study, Standing, CellRun, TrialRun, CellEnd, TrialEnd, schema.Keys])
def test_what_is_written_is_read_back(kind):
    whole = full(kind)
    tags = whole.to_tags()
    assert kind.from_tags(tags) == whole
    assert len(tags) == len(fields(kind))
    assert all(isinstance(text, str) for text in tags.values())


@given(st.lists(WORDS).map(tuple))
def test_a_list_of_any_names_is_read_back(names):
    assert Study.from_tags(Study(cells=names).to_tags()).cells == names


def test_what_is_not_stated_is_not_written():
    assert TrialEnd(status="complete").to_tags() == {"status": "complete"}
    assert Standing.from_tags({}) == Standing(complete=None, busy=None)
    assert Study(claims=()).to_tags()["claims"] == "[]"  # a claim that was taken back does not stay


def test_lists_of_format_1_are_read():
    old = {"cells": "sgd/32,lars/32", "repeats": "", "claims": "figure-1", "environment": '{"torch": "2.11"}'}
    study = Study.from_tags(old)
    assert (study.cells, study.repeats, study.claims) == (("sgd/32", "lars/32"), (), ("figure-1",))
    assert (study.environment, study.versions) == ({"torch": "2.11"}, ())
    assert CellEnd.from_tags({"boundary": "optimizer/lr = 1, at the end 1; b"}).boundary == (
        "optimizer/lr = 1, at the end 1", "b",
    )  # fmt: skip
    tags = {"cell": "sgd/32", "arm": "sgd", "batch_size": "32", "searched": "optimizer/lr,schedule/name"}
    assert CellRun.from_tags(tags).searched == ("optimizer/lr", "schedule/name")
    assert Identity.from_tags({"study_id": "x"}).format == 1


def test_a_damaged_tag_is_refused():
    with pytest.raises(Refused, match=r"store = '\[\"sgd': is no value of the tag cells; restore the store"):
        Study.from_tags({"cells": '["sgd'})
    with pytest.raises(Refused, match=r"a run there lacks its tags cell, arm, batch_size.*; restore the store"):
        CellRun.from_tags({"searched": "[]"})


def test_a_later_format_is_refused():
    Identity(format=schema.FORMAT).check("here")
    with pytest.raises(Refused, match=r"store = 'here': is of format 99, and this version reads .*; install the"):
        Identity(format=99).check("here")


# Keys


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=400))
def test_mlflow_takes_every_key_and_it_is_read_back(key):
    safe = safe_key(key)
    _validate_metric_name(safe)
    _validate_tag_name(safe)
    assert len(safe) <= schema.KEY_LENGTH
    assert whole_key(safe, {safe: key} if schema.is_shortened(key) else {}) == key


@pytest.mark.parametrize("key", ["train/loss", "probe/radius/features.0.weight", "optimizer/excluded_lr", "a b/c-d"])
def test_a_usual_key_is_its_own_form(key):
    assert safe_key(key) == key


# Texts and keys in a real store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(default_uri(tmp_path), "mine", create=tmp_path, study_id="one")


LONG = "é, [x]\r\n" * 3000


def again(store: Store) -> Store:
    return Store(store.uri, store.experiment)


def test_no_fact_is_cut_however_long(store):
    study = Study(question=LONG, spec=LONG + "end", baseline="sgd/32", cells=tuple(f"arm-{n}/32" for n in range(3000)))
    store.describe(study)
    assert again(store).study() == study
    assert all(
        len(text) <= schema.TAG_LENGTH for text in store.client.get_experiment(store.experiment_id).tags.values()
    )
    assert again(store).trials().empty
    assert again(store).cells().empty
    shorter = Study(question="why?", cells=("sgd/32",))
    again(store).describe(shorter)
    assert again(store).study() == shorter


def test_a_study_keeps_its_long_facts_in_one_run(store):
    for _ in range(2):
        again(store).describe(Study(question=LONG, spec=LONG))
    (run,) = store.client.search_runs([store.experiment_id])
    assert (run.info.run_name, run.info.status) == ("report", "FINISHED")
    assert len(store.client.list_artifacts(run.info.run_id, "facts")) == 2  # where MLflow looks for them


def test_a_text_that_looks_like_a_pointer_is_none(store):
    text = str(Pointer("facts/x.txt", "no-run", 3))
    store.describe(Study(question=text))
    assert again(store).study().question == text


def test_no_tag_or_parameter_or_name_of_a_run_is_cut(store):
    tags: dict[str, Any] = {
        "cell": "sgd/32",
        "arm": "sgd",
        "batch_size": 32,
        "searched": tuple(f"{n}/{'k' * 90}" for n in range(90)),
    }
    parent = store.open_run(None, "c", CellRun(**tags), {}, None)
    store.close(parent, CellEnd(boundary=(LONG,), pruning=LONG), {"search/trials": 3.0}, ok=True)
    layer = "probe/radius/" + "block.sub[0]." * 40
    trial = TrialRun(**tags, phase="search", trial=0, seed=1)
    params = {"optimizer/layers": LONG, **{f"trick/odd/{n}": n for n in range(250)}, "trick/" + "x" * 300: 1}
    record = store.open_run(None, "t", trial, params, parent.run_id)
    store.close(record, TrialEnd(status="failed", reason=LONG), {layer: 2.0}, ok=False, rows=[(1, {layer: 1.0})])
    (row,) = again(store).trials().to_dict("records")
    assert (row["reason"], row["optimizer/layers"], row["trick/" + "x" * 300]) == (LONG, LONG, 1)
    assert (row[layer], row["trick/odd/249"], json.loads(row["searched"])) == (2.0, 249, list(tags["searched"]))
    assert list(store.curves([record.run_id], [layer])["value"]) == [1.0, 2.0]
    summary = again(store).summaries()["sgd/32"]
    assert (summary.run.searched, summary.end.boundary, summary.end.pruning) == (tags["searched"], (LONG,), LONG)
    assert summary.metrics == {"search/trials": 3.0}


def test_long_facts_move_with_the_directory(store, tmp_path):
    store.describe(Study(question=LONG))
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    elsewhere = Store(default_uri(moved), "mine")
    assert elsewhere.study().question == LONG
    elsewhere.describe(Study(question=LONG + "more"))
    assert Store(default_uri(moved), "mine").study().question == LONG + "more"
    assert not tmp_path.exists()
    moved.rename(tmp_path)


def test_a_lost_artifact_is_refused(store, tmp_path):
    store.describe(Study(question=LONG))
    for file in (tmp_path / "artifacts").rglob("*.txt"):
        file.unlink()
    with pytest.raises(Refused, match=r"has lost the artifact facts/question.*; restore it from a copy, or run"):
        again(store).study()


def test_a_server_that_takes_no_artifact_is_refused(store, monkeypatch):
    store.artifacts.folder = None  # as with a server
    monkeypatch.setattr(store.client, "log_text", lambda *_: (_ for _ in ()).throw(OSError("405 Not Allowed")))
    with pytest.raises(Refused, match=r"characters fit no tag, and the server .*\(405 Not Allowed\); start it"):
        store.describe(Study(question=LONG))


def test_an_arm_and_a_hash_of_digits_stay_text(store):
    run = TrialRun(cell="10/32", arm="10", batch_size=32, phase="search", trial=0, seed=1, config_hash="0012")
    store.log(store.open_run(None, "t", run, {"batch_size": 32, "seed": 1}, None), [(1, {"train/loss": 1.0})])
    (row,) = store.trials().to_dict("records")
    assert (row["arm"], row["config_hash"], row["batch_size"], row["seed"]) == ("10", "0012", 32, 1)


# Studies of many cells, by the code that writes every study


def made(folder: Path, arms: int, sizes: int, letters: int) -> Store:
    """The store of a study of this many cells, as `study run` leaves it when it was stopped before its first trial."""
    names = [f"{n:03d}-{'long-' * 12}"[:letters] for n in range(arms)]
    spec = Spec.model_validate(
        {
            "name": "many", "question": "Are all of them there?",
            "base": {"model": {"name": "alexnet"}, "data": {"name": "digits"}, "epochs": 1},
            "arms": {name: {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": False, "beta": 0}}
                     for name in names},
            "batch_sizes": [2**n for n in range(sizes)], "baseline": {"arm": names[0], "batch_size": 1},
            "confirm": {"seeds": 1},
        }
    )  # fmt: skip
    plan = cells(spec)
    store = Store(default_uri(folder), "many", create=folder)
    store.describe(described(spec, plan))
    recorder = Recorder(store, Ledger(open_storage(folder / "j"), spec, plan), "abc", Patience("it", passes, print))
    recorder.close(patient=True)
    return store


@pytest.mark.parametrize(
    ("arms", "sizes", "letters"), [(26, 3, 64), (60, 5, 25), (50, 2, 50)], ids=["26 × 3", "60 × 5", "50 × 2"]
)
def test_every_cell_of_a_large_study_has_its_row(tmp_path, arms, sizes, letters):
    store = made(tmp_path, arms, sizes, letters)
    page = write(store, tmp_path / "report").page.read_text()
    rows = (tmp_path / "report" / "gap.csv").read_text().splitlines()
    assert len(rows) == 1 + arms * sizes
    assert len(store.study().cells) == len(store.summaries()) == arms * sizes
    assert all(f"{number:03d}-long-" in page for number in range(arms))


def test_cells_that_format_1_cut_come_from_their_own_runs(tmp_path):
    store = made(tmp_path, 50, 2, 50)
    names = ",".join(store.study().cells)
    assert len(names) > schema.CUT
    for name, text in {"cells": names[: schema.CUT], "repeats": "", "format": "1"}.items():
        store.client.set_experiment_tag(store.experiment_id, name, text)
    assert ",".join(again(store).study().cells) == names


# Metrics


def test_every_metric_of_a_real_study_is_listed(smoke):
    store = Store(default_uri(smoke), "smoke")
    params = {"optimizer", "schedule", "data", "model"}
    columns = {*store.trials().columns, *store.cells().columns} - set(schema.RUN_KINDS) - {"run_id"}
    metrics = {each for each in columns if "/" in each and each.partition("/")[0] not in params}
    kinds = tuple(name.removesuffix("…") for name in schema.METRICS if name.endswith("…"))
    assert {each for each in metrics if not each.startswith(kinds)} <= set(schema.METRICS)
    assert {"gap/batch", "test/accuracy", "val/accuracy", "search/trials"} <= metrics
    assert set(schema.GAP_METRICS.values()) <= set(schema.METRICS)
