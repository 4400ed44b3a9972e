"""`study init`: a spec to begin with."""

from __future__ import annotations

import re

import pytest
import typer

from study import cli
from study.spec import Spec, load
from tests.study.commands import study


def test_what_it_writes_is_a_valid_study_whose_comments_are_true(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    result = study(capsys, "init", file)
    assert (result.status, result.err) == (0, "")
    assert f"study check {file}" in result.out
    spec = load(str(file))
    assert isinstance(spec, Spec)
    assert study(capsys, "check", file).out.splitlines()[-1].startswith("mine is valid: 9 cells, 117 trials")
    whole = re.sub(r"^(\s*)# (?=(sgd-\w+|readings|  xavier): ?)", r"\1", file.read_text(), flags=re.MULTILINE)
    file.write_text(whole)
    assert set(load(str(file)).arms) == {"sgd", "lars", "lamb", "sgd-discard", "sgd-root"}
    assert set(load(str(file)).readings) == {"xavier"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.yaml", "there.yaml': is there already; choose another name"),
        ("mine.txt", "mine.txt': a spec's file ends in .yaml or .yml; rename it"),
        ("no/such/mine.yaml", "cannot be written (No such file or directory); choose another place"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_lost(capsys, tmp_path, name, message):
    (tmp_path / "there.yaml").write_text("name: precious")
    result = study(capsys, "init", tmp_path / name)
    assert result.status == 2
    assert message in " ".join(result.err.split())
    assert (tmp_path / "there.yaml").read_text() == "name: precious"
    assert [path.name for path in tmp_path.iterdir()] == ["there.yaml"]


def test_every_command_has_an_example_that_is_its_own():
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        examples = (command.epilog or "").partition("Examples:")[2].split("\n  study ")[1:]
        assert examples, name
        assert all(example.split()[0] == name for example in examples), name
