"""The schema for editors: it takes what specs may hold, and marks what they may not."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from study import sources
from study.json_schema import json_schema
from study.reference import reference
from tests.study.commands import study
from trainables.optimizers.settings import optimizers


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", sorted(sources.builtin()))
def test_every_built_in_spec_is_valid(validator, name):
    tree = sources.tree(sources.read(sources.builtin()[name]), name)
    assert [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(tree)] == []


TREE = """
base: {model: {name: alexnet, width: 0.125}, data: digits, epochs: {value: 9, at: 32, scale: linear}}
arms:
  sgd:
    optimizer: {name: sgd, lr: {low: 0.1, high: 1, log: true}, momentum: 0.9}
    trick: {discard: {p: 0.3, epochs: 4}}
  other: {tuned_at: {arm: sgd, batch_size: 32, scale: {optimizer/lr: sqrt}}, probe: {gradient: null}}
readings: {plain: {optimizer: {momentum: 0}, confirm: {seeds: 3}, arms: {sgd: {schedule: cosine}}}}
search: {trials: 3, sampler: {name: tpe, n_startup_trials: {N}}, constraints: {train/loss: {high: 1}}}
"""


@pytest.mark.parametrize(
    ("written", "instead", "valid"),
    [
        ("epochs: 4", "epochs: 4", True),
        ("momentum: 0.9", "momentun: 0.9", False),
        ("momentum: 0.9", "momentum: 1.5", False),
        ("momentum: 0.9", "momentum: {choices: [0, 0.9]}", True),
        ("width: 0.125", "width: wide", False),
        ("data: digits", "data: digitz", False),
        ("log: true", "lag: true", False),
        ("scale: linear", "scale: liner", False),
        ("batch_size: 32", "batch_size: 0", False),
        ("p: 0.3", "q: 0.3", False),
        ("search:", "serch:", False),
        ("trials: 3", "trials: -1", False),
        ("seeds: 3", "seeds: 0", False),
        ("name: tpe, n_startup_trials: {N}", "name: random", True),
        ("{N}", "few", False),
        ("gradient: null", "gradiant: null", False),
        ("model:", "seed: 3, model:", False),
    ],
)
def test_a_mistake_is_marked(validator, written, instead, valid):
    assert written in TREE
    tree = yaml.safe_load(TREE.replace(written, instead, 1).replace("{N}", "4"))
    assert validator.is_valid(tree) == valid, [error.message[:300] for error in validator.iter_errors(tree)]


def test_the_command_prints_it(capsys):
    result = study(capsys, "schema")
    assert (result.status, result.err) == (0, "")
    assert json.loads(result.out) == json_schema()


def test_the_reference_stands_in_the_documents_as_it_is_made(capsys):
    file = Path(__file__).parents[2] / "docs" / "specs.md"
    assert study(capsys, "schema", "--markdown").out == file.read_text(), "study schema --markdown > docs/specs.md"


@pytest.mark.parametrize(
    "row",
    [
        "| `gamma` | γ | global coefficient of a layer-wise rule | a number, 0 < x | none: searched, or to be stated |"
        "  | paper (10), (21) |",
        "| `precision` |  | bfloat16: autocast | float32, bfloat16 | float32 |  |  |",
        "| `seeds` |  | training runs of each cell on the test split | a whole number, 1 ≤ x ≤ 10000 | 5 |  |  |",
    ],
)
def test_a_setting_is_a_row_of_the_reference(row):
    assert row in reference().splitlines()


def test_every_setting_is_described():
    """The words beside a field in an editor are the field's own."""

    def described(node):
        if isinstance(node, dict):
            yield (str(node.get("description")), str(node.get("source")))
            for below in node.values():
                yield from described(below)
        for each in node if isinstance(node, list) else ():
            yield from described(each)

    words = set(described(json_schema()))
    for name in optimizers.names():
        for field in optimizers.get(name).model_fields.values():
            if field.json_schema_extra:
                assert (field.description, field.json_schema_extra["source"]) in words
