"""What a wheel holds: the four packages with their specs and templates, and nothing that was measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trainables", "search_spaces", "study", "reports")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel, built in a copy so that nothing of the build stays in the checkout."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source / file)
    build = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", build, "-q", "bdist_wheel", "-d", str(built)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = built.glob("*.whl")
    return ZipFile(wheel).namelist()


def test_measured_tables_and_pictures_stay_out(names: list[str]) -> None:
    assert [name for name in names if "measured" in name or name.endswith((".csv", ".png"))] == []


def test_every_module_and_template_and_spec_is_in(names: list[str]) -> None:
    wanted = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    for pattern in ("reports/*.j2", "reports/*.css", "study/specs/*.yaml"):
        wanted |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    assert wanted <= set(names)
    assert {name.partition("/")[0] for name in names if "dist-info" not in name} == set(PACKAGES)
