"""One version everywhere: in pyproject.toml, CITATION.cff, CHANGELOG.md, and the lists of versions in .ci."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPT = runpy.run_path(str(ROOT / ".ci" / "constraints.py"))
REQUIREMENTS: list[Requirement] = SCRIPT["requirements"]()
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.]+)")


def pins(name: str) -> dict[str, Version]:
    """The versions in a list, by package. Any other line than a comment or `NAME==VERSION` is an error."""
    lines = [line for line in (ROOT / ".ci" / name).read_text().splitlines() if not line.startswith("#")]
    matches = [PIN.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    return {match["name"].lower(): Version(match["version"]) for match in matches if match}


def test_lowest_versions_are_the_lower_bounds():
    assert (ROOT / ".ci" / "lowest.txt").read_text() == SCRIPT["lowest"](), "run `make constraints`"


def test_every_requirement_has_a_lower_bound():
    stubs = [one.name for one in REQUIREMENTS if "stubs" in one.name or one.name.startswith("types-")]
    unbounded = [one.name for one in REQUIREMENTS if not any(bound.operator == ">=" for bound in one.specifier)]
    assert sorted(unbounded) == sorted(stubs)  # stubs go with the type checker


LEFT_OUT = (*SCRIPT["TORCH"], "mysqlclient")  # mysqlclient is built from source, so `dev` does not install it


@pytest.mark.parametrize("one", [one for one in REQUIREMENTS if one.name not in LEFT_OUT], ids=str)
def test_tested_versions_are_allowed(one):
    assert one.specifier.contains(pins("tested.txt")[one.name.lower()])


def test_neither_list_has_torch():
    assert not set(SCRIPT["TORCH"]) & {*pins("tested.txt"), *pins("lowest.txt")}


def test_what_torch_alone_needs_is_not_in_the_list():
    assert not [name for name in pins("tested.txt") if name.startswith(("nvidia", "cuda", "triton"))]


def test_requirements_are_followed_through_extras():
    assert {"tensorboardx", "aiohttp-cors", "sqlalchemy"} <= set(pins("tested.txt"))  # ray[tune], ray[default], mlflow


def test_changelog_begins_with_this_version():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    version = PROJECT["version"]
    assert re.fullmatch(rf"Unreleased, to become {version}|{version}, \d{{4}}-\d\d-\d\d", headings[0])
    releases = [Version(heading.partition(",")[0]) for heading in headings[1:]]
    assert releases == sorted(releases, reverse=True)
    assert Version(version) > releases[0]


def test_citation():
    """What the Citation File Format 1.2.0 requires, and the version."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert citation["type"] == "software"
    assert citation["title"].startswith(PROJECT["name"])
    assert citation["version"] == PROJECT["version"]
    for work in [citation, *citation["references"]]:
        assert work["title"]
        assert work["authors"]
        assert all("name" in author or {"given-names", "family-names"} <= set(author) for author in work["authors"])
    for reference in citation["references"]:
        assert reference["type"] == "article"
        assert isinstance(reference["year"], int)
        assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", reference["url"])
