"""Files and values that nobody means well with: one bounded line that quotes nothing of others' files, at once."""

from __future__ import annotations

import os
import re
import time

import pytest

from study.directory import CollectionDirectory, Directory
from study.plan import cells
from study.spec import FILES, Collection, Spec, load
from tests.study.commands import SMOKE, study
from tests.study.test_yaml_core import aliases
from trainables.errors import LONGEST_TEXT, LONGEST_VALUE, Refused, bounded, masked, shown

LONGEST_MESSAGE = 2000  # characters; most have some two hundred
SECRET = "root:x:0:0:the quick brown fox:/root:/bin/bash\n"


def refused(capsys, *words, status=2):
    """The one line that the command says, within seconds."""
    began = time.monotonic()
    result = study(capsys, *words)
    assert time.monotonic() - began < 20
    assert (result.status, result.out) == (status, "")
    assert "Traceback" not in result.err
    assert len(result.err) < LONGEST_MESSAGE
    return result.err


@pytest.fixture
def spec(tmp_path):
    """Writes a spec; returns its path."""

    def write(text, name="own.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize("how", ["extends", "studies", "spec"])
@pytest.mark.parametrize("name", ["passwd", "passwd.yaml"])
def test_a_file_that_is_no_mapping_is_named_and_not_quoted(capsys, spec, how, name):
    other = spec(SECRET, name)
    words = {"extends": f"extends: {other}\nname: own", "studies": f"name: own\nquestion: Q?\nstudies: [{other}]"}
    said = refused(capsys, "check", other if how == "spec" else spec(words[how]))
    assert name in said
    assert "fox" not in said


def test_a_file_to_extend_is_a_yaml_file(capsys, spec):
    other = spec("auths: {registry: {auth: c2VjcmV0}}", "config.json")
    said = refused(capsys, "check", spec(f"extends: {other}\nname: own"))
    assert f"extends = '{other}': is neither a built-in spec nor a YAML file; a file to extend ends in .yaml or" in said


def test_a_pipe_is_not_waited_for(capsys, spec, tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    assert "pipe.yaml': is no file; name a readable YAML file" in refused(capsys, "check", tmp_path / "pipe.yaml")
    assert "extends = '" in refused(capsys, "check", spec("extends: pipe.yaml\nname: own"))


def test_a_file_without_end_is_not_read_to_its_end(capsys, spec):
    assert "has more than the 200,000 bytes of a spec" in refused(capsys, "check", spec("#" * 300_000))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(aliases(5).replace("1, 1", "'" + "x" * 1000 + "', 1") + "\nname: *a3", id="aliases"),
        pytest.param(aliases(5).replace("a4:", "name:"), id="aliases of numbers"),
        pytest.param("name: [" + "1, " * 60_000 + "]", id="a long list"),
        pytest.param("name: " + "x" * 190_000, id="a long name"),
        pytest.param("x" * 120 + ": 1", id="a long key"),
        pytest.param("? " + "x" * 50_000 + "\n: 1", id="a longer key"),
        pytest.param("name: *" + "x" * 50_000, id="a long alias"),
        pytest.param(f"name: {{{', '.join(f'k{n}: {n}' for n in range(5000))}}}", id="a long mapping"),
        pytest.param("extends: " + "x" * 50_000, id="a long name to extend"),
        pytest.param("[" * 1000, id="a thousand lists"),
        pytest.param("name: " + "{a: " * 1000 + "1" + "}" * 1000, id="a thousand mappings"),
        pytest.param("".join(f"{' ' * level}a:\n" for level in range(600)), id="six hundred levels"),
    ],
)
def test_a_message_is_bounded(capsys, spec, text):
    refused(capsys, "check", spec(text))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("a/" * 1000 + "b=1", r"--set = .*: is nested too deeply; a spec has some seven levels"),
        ("base/" + "a/" * 25 + "b=1", r"base/a = .*: unknown key"),
        ("base/model=" + "{a: " * 1000 + "1" + "}" * 1000, r"it has more than 32 levels"),
        ("x" * 50_000, r"--set = 'x+.*KEY=VALUE is wanted"),
        ("name=" + "x" * 50_000, r"name = 'x+.*: String should match"),
        ("arms/sgd/optimizer={'lr': 0.1, 'lr/x': 2}", r"lr/x = 2: a key has no /; nest it"),
        ("base/epochs=1e12", r"epochs = 1000000000000\.0: must be less than or equal to 100000"),
        ("base/epochs=99999999999999999999", r"epochs = 9{20}: must be less than or equal to 100000"),
    ],
)
def test_an_absurd_override_is_refused_at_once(capsys, override, message):
    said = " ".join(refused(capsys, "check", "smoke", "--set", override).split())
    assert re.search(message, said), said


def test_the_longest_training_is_checked_at_once(capsys):
    began = time.monotonic()
    assert study(capsys, "check", "smoke", "--set", "base/epochs=100000").status == 0
    more = ["base/epochs=100000", "arms/sgd/trick={grow: {factor: 1.0001, every: 1}, discard: {p: 0.5, epochs: 99999}}"]
    assert study(capsys, "check", "smoke", *(word for each in more for word in ("--set", each))).status == 0
    assert time.monotonic() - began < 60


def test_nothing_waits_for_an_override_that_is_no_text():
    """In Python, where YAML's reader has not looked before."""
    tree = load("smoke").model_dump()
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    for given, message in (
        ({1: 2}, r"1 = 2: a key is text"),
        ({"arms": {None: {}}}, r"arms/None = \{\}: a key is text"),
        ({"base": {**tree["base"], "trick": {3: {}}}}, r"base/trick/3 = \{\}: a key is text"),
        ({"base": {**tree["base"], "model": deep}}, r"base/model/a/.* = .*: is nested too deeply"),
        ({"arms": {"sgd": {"optimizer": {"lr/x": 1}}}}, r"lr/x = 1: a key has no /"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            Spec.model_validate({**tree, **given})
        assert len(str(caught.value)) < 2 * LONGEST_MESSAGE


def test_a_null_finds_its_key_though_the_key_has_a_slash(spec):
    own = f"extends: {SMOKE}\nname: own\nsearch: {{constraints: {{train/loss: {{high: 9}}, val/loss: {{high: 9}}}}}}\n"
    small = "small: {search: {constraints: {train/loss: null}}}"
    assert list(load(str(spec(own + small)), scale="small").search.constraints) == ["val/loss"]
    with pytest.raises(Refused, match=r"small/search/constraints/val/accuracy = None: null takes out a key, and there"):
        load(str(spec(own + small.replace("train/loss", "val/accuracy"))), scale="small")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, (2,), ("a", {1: None})], "[1, (2,), ('a', {1: None})]"),
        ({"a": []}, "{'a': []}"),
        ("x" * 9999, "'" + "x" * (LONGEST_VALUE - 1) + "…"),
        ([["y" * 9999] * 9999] * 9999, "[['" + "y" * (LONGEST_VALUE - 3) + "…"),
        ("http://me:secret@host/x", "'http://me:***@host/x'"),
    ],
)
def test_a_value_is_shown_as_far_as_it_fits(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("at http://me:p%40ss@host:5000/x: no", "at http://me:***@host:5000/x: no"),
        ("postgresql+psycopg2://me:p@ss/w:rd@[::1]:5432/db?a=1", "postgresql+psycopg2://me:***@[::1]:5432/db?a=1"),
        ("'mysql://a:b@c' and \"mysql://d:e@f\"", "'mysql://a:***@c' and \"mysql://d:***@f\""),
        ("http://:secret@host", "http://:***@host"),
        ("postgresql://h/db?user=me&password=pw&x=1", "postgresql://h/db?user=me&password=***&x=1"),
        ("mssql://?odbc_connect=UID%3Dme%3BPWD%3Dpw%3BX", "mssql://?odbc_connect=UID%3Dme%3BPWD%3D***"),
        *[
            (text, text)
            for text in ("http://127.0.0.1:5000: refused, ask a@b.c", "postgresql://me@host/db", "a: b @ c")
        ],
    ],
)
def test_passwords_are_masked(text, told):
    assert masked(text) == told


def test_a_long_text_is_masked_before_it_is_cut():
    text = bounded("http://me:" + "secret" * 300 + "@host " + "x" * 5000)
    assert (len(text), text[:20]) == (LONGEST_TEXT + 1, "http://me:***@host x")


def test_a_collection_names_what_it_has(spec):
    with pytest.raises(Refused, match=r"studies = \[\]: an empty collection has nothing to run or draw; name its stu"):
        load(str(spec("name: own\nquestion: Q?\nstudies: []")))
    assert isinstance(load(str(spec("name: own\nquestion: Q?\nstudies: []\nclaims: [figure-15]"))), Collection)


def test_the_files_that_studies_keep_clear_of_are_those_of_the_directories(tmp_path):
    directory, collection = Directory(tmp_path), CollectionDirectory(tmp_path)
    paths = [path for each in (directory, collection) for path in vars(each).values() if path != tmp_path]
    assert {path.name for path in paths} <= FILES
    assert {path.with_suffix(".partial").name for path in (directory.spec_file, collection.file)} <= FILES


@pytest.mark.parametrize(
    "name", ["report", "collection.yaml", "spec.yaml", "store.yaml", "optuna.journal", "trials.csv"]
)
def test_a_study_of_a_collection_is_not_called_like_a_file_there(spec, name):
    spec(SMOKE.read_text().replace("name: smoke", f"name: {name}"), "one.yaml")
    both = load(str(spec("name: own\nquestion: Q?\nstudies: [smoke, one.yaml]")))
    assert isinstance(both, Collection)
    with pytest.raises(Refused, match=rf"studies/1 = .*: a collection's directory has a file called '{name}'; give it"):
        both.load()


def test_a_study_is_not_called_like_the_experiment_that_every_store_has():
    with pytest.raises(Refused, match=r"name = 'Default': MLflow's own experiment is called so; choose another"):
        load("smoke", overrides=["name=Default"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arms/sgd/optimizer/lr=1e300", r"optimizer/lr = 1e\+300: is beyond 3\.4e\+38, where training's numbers end"),
        ("arms/sgd/optimizer/lr=1e-300", r"optimizer/lr = 1e-300: is below 1\.2e-38, where training's numbers end"),
        ("arms/sgd/optimizer/beta=1e39", r"optimizer/beta = 1e\+39: is beyond"),
        ("arms/sgd/optimizer/lr={low: 1e-3, high: 1e300}", r"optimizer/lr = 1e\+300: a search range .* \(is beyond"),
        ("arms/sgd/optimizer/lr={choices: [0.1, 1e300]}", r"optimizer/lr = 1e\+300: a search range .* \(is beyond"),
        ("arms/sgd/optimizer/lr={value: 1e300, at: 1, scale: linear}", r"optimizer/lr = 1\.6e\+301: is beyond"),
        ("arms/sgd/optimizer/lr={value: 1e308, at: 1, scale: linear}", r"optimizer/lr = inf: must be a finite number"),
        ("arms/sgd/optimizer/lr={value: 1, at: 1, scale: power, exponent: 1e9}", r"optimizer/lr = inf: must be a fin"),
        ("arms/sgd/optimizer/lr={value: 1, at: 99999, scale: power, exponent: -1e9}", r"optimizer/lr = inf: must be a"),
        ("base/epochs={value: 1e308, at: 1, scale: linear}", r"epochs = inf: a whole number of at least 1 is wanted"),
        ("arms/sgd/optimizer/momentum=true", r"optimizer/momentum = True: a number is wanted, not true or false"),
        ("arms/sgd/trick={discard: {p: 0.3, epochs: true}}", r"discard/epochs = True: a number is wanted"),
        ("base/micro_batch={}", r"base/micro_batch = \{\}: a value is wanted; give one, or leave it out"),
        ("base/micro_batch=true", r"micro_batch = True: a number is wanted"),
        (
            "base/schedule={name: multistep, milestones: [0.5, true]}",
            r"milestones = \[0\.5, True\]: a number is wanted",
        ),
        ("search/trials=true", r"search/trials = True: a number is wanted"),
        ("search/sampler={name: tpe, n_startup_trials: true}", r"n_startup_trials = True: a number is wanted"),
        ("search/repeat={sgd/16: true}", r"search/repeat = \{'sgd/16': True\}: a number is wanted"),
        ("search/constraints={train/loss: {high: true}}", r"search/constraints/train/loss/high = True: a number is w"),
        ("confirm/seeds=true", r"confirm/seeds = True: a number is wanted"),
        ("batch_sizes=[16, true]", r"batch_sizes = \[16, True\]: a number is wanted"),
        ("baseline/batch_size=true", r"baseline/batch_size = True: a number is wanted"),
        ("resources/cpus=true", r"resources/cpus = True: a number is wanted"),
        ("resources/gpus=1e-5", r"resources/gpus = 1e-05: Ray shares a GPU out in parts of at least 0\.0001"),
        ("resources/gpus=1.5", r"resources/gpus = 1\.5: more than one GPU are whole ones; give 1, 2 or 0\.5"),
        ("resources/cpus=1e9", r"resources/cpus = 1000000000(\.0)?: must be less than or equal to"),
        ("arms/sgd/optimizer/lr={choices: [0.1, 0.2, 0.1]}", r"optimizer/lr = 0\.1: stands twice among the choices"),
        ("arms/sgd/optimizer/lr={choices: [1, 1.0]}", r"optimizer/lr = 1\.0: stands twice among the choices"),
        ("arms/sgd/optimizer/lr={choices: [{a: 1}]}", r"optimizer/lr = \{'a': 1\}: a choice is a single value"),
        ("search/constraints={train/loss: {low: 2, high: 1}}", r"train/loss = .*: low is not above high; correct"),
        ("claims=[figure-1, figure-1]", r"claims = .*'figure-1'.*: a claim stands twice; name each once"),
    ],
)
def test_what_passed_once_is_refused(override, message):
    with pytest.raises(Refused, match=message):
        cells(load("smoke", overrides=[override]))


@pytest.mark.parametrize("gpus", [0, 0.0001, 0.25, 1, 2, 8])
def test_shares_of_a_gpu_and_whole_ones_are_accepted(gpus):
    assert load("smoke", overrides=[f"resources/gpus={gpus}"]).resources.gpus == gpus
