"""docs/tutorial.md is true: its package passes its tests, and its study runs as it stands there, but smaller."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SMALLER = ("--set", "search/trials=1", "--set", "confirm/seeds=1", "--set", "base/epochs=2")


def blocks(kind: str) -> list[str]:
    return [text for name, text in BLOCKS if name == kind]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, installed as `pip install -e .` would, but without pip."""
    folder = tmp_path_factory.mktemp("rootlars")
    (project,) = blocks("toml")
    (folder / "rootlars.py").write_text(blocks("python")[0])
    (folder / "test_rootlars.py").write_text(blocks("python")[1])
    (folder / "question.yaml").write_text(blocks("yaml")[0])
    described = tomllib.loads(project)["project"]
    info = folder / f"rootlars-{described['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: {described['version']}\n"
    )
    groups = described["entry-points"].items()
    lines = "".join(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for group, each in groups)
    (info / "entry_points.txt").write_text(lines)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_commands_are_the_ones_that_run_here() -> None:
    assert "".join(blocks("sh")).splitlines() == [
        "pip install -e .", "pytest -q test_rootlars.py", "study check question.yaml",
        "study run question.yaml --dir answer",
    ]  # fmt: skip


def test_the_package_passes_its_own_tests(package: Path) -> None:
    result = run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rootlars.py")
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout


def test_the_study_runs_and_takes_a_reading_later(package: Path) -> None:
    assert run(package, "-m", "study.cli", "check", "question.yaml").returncode == 0
    began = run(package, "-m", "study.cli", "run", "question.yaml", "--dir", "answer", *SMALLER)
    assert began.returncode == 0, began.stderr
    gaps = package / "answer" / "report" / "gap.csv"
    assert set(pd.read_csv(gaps)["arm"]) == {"sgd", "lars", "root_lars"}
    tree = yaml.safe_load(blocks("yaml")[0]) | yaml.safe_load(blocks("yaml")[1])
    (package / "question.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    more = run(package, "-m", "study.cli", "run", "question.yaml", "--dir", "answer", *SMALLER)
    assert more.returncode == 0, more.stderr
    readings = pd.read_csv(package / "answer" / "report" / "gap-readings.csv")
    assert set(readings["reading"]) == {"xavier"}
