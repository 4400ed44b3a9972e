"""What README.md and CONTRIBUTING.md tell a reader to type works: commands, specs, make targets, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from study import cli, spec

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
README = (ROOT / "README.md").read_text()
PROSE = "\n".join((ROOT / name).read_text() for name in DOCUMENTS)


def commands() -> list[str]:
    """Every `study …` of the README: the lines of its indented blocks, and what stands between backticks."""
    lines = re.findall(r"^    (?:[A-Z_]+=\S+ |.* -- )?(study [a-z].*)$", README, re.MULTILINE)
    spans = re.findall(r"`(study [a-z][^`]*)`", README.replace("\n", " "))
    found = [text.partition(" #")[0].partition(" > ")[0].strip() for text in (*lines, *spans)]
    return sorted({command for command in found if "…" not in command})


@pytest.mark.parametrize("command", commands())
def test_command(command):
    """Its options exist and take such values; a spec that it names is built in, at the scale that it names."""
    name, *words = shlex.split(command)[1:]
    command_line = typer.main.get_command(cli.app).commands[name]
    if not words:
        return  # the prose speaks of the command itself
    context = command_line.make_context(name, words)  # raises a UsageError
    asked = context.params.get("spec")
    if asked and asked not in ("SPEC", "NAME") and not asked.endswith(".yaml"):
        assert spec.load(asked, scale=context.params.get("scale"))


def test_commands_are_seen():
    assert {"study run figure-3", "study ui DIR", "study run mine.yaml --set search/trials=20"} <= set(commands())
    assert any("--address auto" in command for command in commands())


def samples() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("overrides", [[], ["search/trials=20"]], ids=["as it stands", "topped up"])
def test_spec(tmp_path, overrides):
    (tmp_path / "mine.yaml").write_text(samples()[0])
    mine = spec.load(str(tmp_path / "mine.yaml"), overrides=overrides)
    assert mine.name == "mine"
    assert mine.search.trials == (20 if overrides else 12)
    assert set(mine.arms) == {"sgd", "lars", "mclr", "sgd-discard"}


def test_search_section(tmp_path):
    """The README's further samples are sections of the first."""
    whole = {key: value for sample in samples() for key, value in yaml.safe_load(sample).items()}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(whole))
    mine = spec.load(str(tmp_path / "mine.yaml"))
    assert set(mine.readings) == {"kaiming", "momentum"}
    search = mine.search
    assert search.trials == 20
    assert search.sampler.name == "tpe"
    assert search.widen


def test_make_targets():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^ +make ([a-z]+)", PROSE, re.MULTILINE)) | set(re.findall(r"`make ([a-z]+)[` ]", PROSE))
    assert {"quickstart", "test", "check"} <= named <= targets


def test_links():
    links = re.findall(r"\]\(([^)#]+)", PROSE)
    assert len(links) > 5
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]
