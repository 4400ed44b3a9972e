"""A study's directory: whose it is, which specs continue what lies there, and what former versions stored."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from study.directory import Directory
from study.schema import FORMAT
from study.spec import Spec, load, parse
from tests.study.commands import study
from trainables.errors import Refused

SPEC = """
name: mine
question: Which rate?
base: {model: {name: alexnet}, data: {name: digits, validation: 0.2}, epochs: 4}
arms:
  sgd: {optimizer: {name: sgd, lr: 0.01, momentum: 0.9, nesterov: false, beta: 0}}
  lars: {optimizer: {name: lars, gamma: {low: 0.001, high: 0.1, log: true}, momentum: 0.9}}
batch_sizes: [32, 64]
baseline: {arm: sgd, batch_size: 32}
search: {trials: 2}
"""


@pytest.fixture
def directory(tmp_path) -> Directory:
    found = Directory(tmp_path / "mine")
    with found.owned(parse(SPEC, "SPEC")):
        found.begin(found.identity(None))
        found.accept(parse(SPEC, "SPEC"))
    return found


def loaded(tmp_path: Path, *overrides: str) -> Spec:
    """The spec as a user writes it, with the overrides."""
    (tmp_path / "mine.yaml").write_text(SPEC)
    spec = load(str(tmp_path / "mine.yaml"), overrides=overrides)
    assert isinstance(spec, Spec)
    return spec


# What continues a study


SAME = (
    ("1e-2", ("arms/sgd/optimizer/lr=1e-2",)),
    ("a range in other digits", ("arms/lars/optimizer/gamma={low: 1e-3, high: 1.0e-1, log: true}",)),
    ("a whole number with a point", ("base/epochs=4.0",)),
    ("text that is a number", ("arms/sgd/optimizer/lr='1e-2'",)),
    ("a default that is stated", ("base/precision=float32", "arms/sgd/model={width: 1.0}")),
    ("a plug-in without options", ("base/model=alexnet",)),
    ("a setting of every arm", ("arms/sgd/model/width=1", "arms/lars/model/width=1.0")),
    ("a larger budget", ("search/trials=3", "confirm/seeds=9")),
    ("one more arm and batch size", ("arms/lamb={optimizer: {name: lamb}}", "batch_sizes=[32, 64, 128]")),
    ("another question", ("question=Why?",)),
)  # fmt: skip


@pytest.mark.parametrize("overrides", [row[1] for row in SAME], ids=[row[0] for row in SAME])
def test_values_are_compared_as_they_are_validated(directory, tmp_path, overrides):
    directory.check(loaded(tmp_path, *overrides))


def test_a_stored_text_that_is_a_number_is_that_number(directory, tmp_path):
    """Version 0.1 read `lr: 1e-2` as text, and stored it so."""
    directory.spec_file.write_text(SPEC.replace("lr: 0.01", "lr: 1e-2"))
    assert directory.spec().arms["sgd"]["optimizer"]["lr"] == "1e-2"
    directory.check(loaded(tmp_path))
    with pytest.raises(Refused, match=r"arms/sgd/optimizer/lr = 0.02: the study in .* was run with '1e-2'; use"):
        directory.check(loaded(tmp_path, "arms/sgd/optimizer/lr=0.02"))


OTHER = (
    ("arms/sgd/optimizer/lr=0.02", r"arms/sgd/optimizer/lr = 0.02: the study in .* was run with 0.01; use another"),
    ("base/epochs=5", r"base/epochs = 5: the study in .* was run with 4"),
    ("arms/lars/optimizer/gamma/high=0.2", r"gamma/high = 0.2: .* with 0.1"),
    ("arms/lars/optimizer/gamma=0.01", r"arms/lars/optimizer/gamma/low = None: .* with 0.001"),
    ("arms/sgd/trick={discard: {p: 0.3, epochs: 1}}", r"trick/discard/p = 0.3: .* with nothing"),
    ("base/schedule={name: cosine}", r"base/schedule/name = 'cosine': .* with nothing"),
    ("batch_sizes=[32]", r"batch_sizes = \[32\]: .* with \[32, 64\]"),
    ("search/trials=1", r"search/trials = 1: .* with 2"),
    ("search/seed=1", r"search/seed = 1: .* with 0"),
)  # fmt: skip


@pytest.mark.parametrize(("override", "pattern"), OTHER, ids=[row[0] for row in OTHER])
def test_another_study_is_refused(directory, tmp_path, override, pattern):
    with pytest.raises(Refused, match=pattern):
        directory.check(loaded(tmp_path, override))


def test_an_arm_that_is_taken_out_is_refused(directory):
    one = parse(SPEC.replace("  lars:", "  lars2:"), "SPEC")
    with pytest.raises(Refused, match=r"arms/lars/optimizer/name = None: the study in .* was run with 'lars'"):
        directory.check(one)


@pytest.fixture
def begun(tmp_path):
    """A directory in which the quickstart of 9bd26f5 was begun; a blank in its path needs quotes."""
    search = ["search/trials=5", "search/window=4", "search/sampler={name: tpe, n_startup_trials: 6}"]
    path = tmp_path / "my studies" / "quickstart"
    path.mkdir(parents=True)
    (path / "spec.yaml").write_text(load("quickstart", overrides=search).dump())
    return Directory(path)


def test_a_directory_of_an_older_built_in_spec_is_refused_with_the_command_that_goes_on(begun):
    with pytest.raises(Refused, match=r"was run with 6; use another --dir, or go on with the spec") as told:
        begun.check(load("quickstart"))
    command = re.search("`(.*)`", told.value.remedy)
    study, run, spec, option, path = shlex.split(command[1])
    assert (study, run, option, path) == ("study", "run", "--dir", str(begun.path))
    begun.check(load(spec))
    begun.check(load(spec, overrides=["search/trials=9"]))


# What former versions stored


def test_a_stored_spec_lacks_what_is_newer_and_keeps_what_is_refused_today(directory):
    """As 9bd26f5 stored them: fields of today left out, YAML 1.1's texts, a claim that is not installed here."""
    directory.spec_file.write_text(
        SPEC.replace("lr: 0.01", "lr: 1e-2") + "claims: [figure-99]\nresources: {cpus: 1}\nconfirm: {seeds: 3}\n"
    )
    spec = directory.spec()
    assert (spec.claims, spec.confirm.seeds, spec.search.reproducible) == (("figure-99",), 3, True)
    with pytest.raises(ValidationError, match="'figure-99': none of the claims is called so"):
        Spec.model_validate(yaml.safe_load(directory.spec_file.read_text()))


def test_a_rule_that_is_younger_than_the_study_spares_it(directory, monkeypatch, tmp_path):
    from study import directory as module

    real = module.cells

    def strict(spec):
        if "trick" not in spec.base:
            raise Refused("base", spec.base, "an imagined new rule", "add a trick")
        return real(spec)

    monkeypatch.setattr(module, "cells", strict)
    directory.check(loaded(tmp_path))
    with pytest.raises(Refused, match=r"base/trick.* was run with nothing"):
        directory.check(loaded(tmp_path, "base/trick={}"))


# Whose it is


def test_the_directory_states_its_format_and_that_it_was_begun(directory):
    known = yaml.safe_load(directory.identity_file.read_text())
    assert (known["format"], known["begun"]) == (str(FORMAT), "true")
    assert directory.identity(None)["study_id"] == known["study_id"]


def test_a_lost_spec_does_not_make_a_study_new(directory):
    """Its search may be in PostgreSQL: no file but store.yaml tells that there are results to lose."""
    (directory.path / "mlflow.db").write_text("results")
    directory.spec_file.unlink()
    assert directory.begun
    directory.begin(directory.identity(None))
    assert (directory.path / "mlflow.db").read_text() == "results"


def test_a_study_that_no_store_has_accepted_may_be_begun_anew(tmp_path):
    found = Directory(tmp_path)
    found.begin(found.identity(None, "postgresql://nowhere/x"))
    (tmp_path / "mlflow.db").write_text("half of one")
    assert not found.begun
    assert "storage" not in found.identity(None)
    found.begin(found.identity(None))
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("command", ["status", "report", "export", "run"])
def test_a_directory_of_a_later_format_is_refused(capsys, directory, tmp_path, command):
    known = yaml.safe_load(directory.identity_file.read_text())
    directory.identity_file.write_text(yaml.safe_dump({**known, "format": "99"}))
    (tmp_path / "mine.yaml").write_text(SPEC)
    words = ("run", tmp_path / "mine.yaml", "--dir", directory.path) if command == "run" else (command, directory.path)
    result = study(capsys, *words)
    assert result.status == 2
    told = f"store = '{directory.path}': is of format 99, and this version reads formats up to {FORMAT}; install"
    assert told in " ".join(result.err.split())


@pytest.mark.parametrize("text", ["- 1", "study_id: [", "tracking_uri: x", "\x00"])
def test_a_damaged_identity_is_refused(directory, text):
    directory.identity_file.write_text(text)
    with pytest.raises(Refused, match=r"store.yaml = .*: is damaged; restore it from a copy, or start in"):
        directory.identity(None)
