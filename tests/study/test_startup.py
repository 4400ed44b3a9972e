"""What a command loads before it answers: the seconds that a person waits for are imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.study.commands import SMOKE, study

HEAVY = ("torch", "torchvision", "ray", "mlflow", "optuna", "pandas", "scipy", "sklearn", "altair", "vl_convert")
LOADED = f"""
import sys
from study import cli
try:
    cli.main()
finally:
    print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


def loaded(*words: object) -> set[str]:
    """Which of HEAVY the command has loaded by its end."""
    command = [sys.executable, "-c", LOADED, *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["list", "--json"]])
def test_what_only_reads_words_loads_nothing(words):
    assert loaded(*words) == set()


def test_a_spec_is_checked_without_ray_and_mlflow():
    assert not loaded("check", SMOKE) & {"ray", "mlflow", "torchvision", "altair"}


def test_a_study_is_looked_at_without_ray(capsys, tmp_path):
    (tmp_path / "s").mkdir()
    spec = tmp_path / "s" / "spec.yaml"
    spec.write_text(SMOKE.read_text())
    assert study(capsys, "check", spec).status == 0
    assert loaded("status", tmp_path / "s") == {"torch", "optuna"}


@pytest.mark.parametrize("data", ["cifar10", "digits"])
def test_a_worker_needs_no_library_of_data_sets(data):
    """Images come to it as arrays."""
    code = f"import sys; from trainables.data import datasets; datasets.get({data!r}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert not {"torchvision", "sklearn"} & set(run.stdout.split())
