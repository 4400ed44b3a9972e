"""A package that is not ours registers an optimizer and inherits the conformance suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILES = {
    "harmonic/__init__.py": "",
    "harmonic/optimizer.py": '''
from typing import ClassVar, Literal

from trainables.optimizers import LayerWise, LayerWiseSettings
from trainables.optimizers.options import Rule, at_least


class Powered(LayerWise):
    """R = (‖w‖ / ‖g‖)^power."""

    rules: ClassVar[dict[str, Rule]] = {"power": at_least(0)}

    def __init__(self, params, lr=1e-3, momentum=0.9, weight_decay=0.0, *, power=1.0, **others):
        super().__init__(params, lr, momentum, weight_decay, power=power, **others)

    def fraction(self, batch):
        power = batch.options["power"]
        return batch.weight_norms**power, batch.grad_norms**power


class PoweredSettings(LayerWiseSettings):
    torch_class: ClassVar = Powered
    name: Literal["powered"] = "powered"
    power: float = 1.0
''',
    "harmonic-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: harmonic\nVersion: 1\n",
    "harmonic-1.dist-info/entry_points.txt": "[trainables.optimizers]\npowered = harmonic.optimizer:PoweredSettings\n",
    "tests/test_powered.py": """
from trainables.testing import Conformance


class TestPowered(Conformance):
    name = "powered"
    fields = {"gamma": 0.02, "excluded_lr": 0.1, "power": 0.9}
""",
    "tests/test_broken.py": '''
from harmonic.optimizer import Powered
from trainables.testing import Conformance


class Broken(Powered):
    """Takes one group for two, as a rule of ours once did."""

    def add_param_group(self, group):
        params = list(group["params"])
        for half in (params[:1], params[1:]):
            if half:
                super().add_param_group({**group, "params": half})


class TestBroken(Conformance):
    name = "powered"
    fields = {"gamma": 0.02, "excluded_lr": 0.1}

    def build(self, params, **fields):
        return Broken(params, 0.02, excluded_lr=0.1)
''',
}
PLAIN = "import sys; import trainables.optimizers, trainables.train; assert 'pytest' not in sys.modules"


def test_a_package_of_ones_own_inherits_the_suite(tmp_path: Path) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}

    def pytest(file: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), file]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True).stdout

    good, broken = pytest("tests/test_powered.py"), pytest("tests/test_broken.py")
    assert "failed" not in good, good[-3000:]
    assert " passed" in good, good[-3000:]
    assert "FAILED tests/test_broken.py::TestBroken::test_a_group_given_is_a_group_in_the_order_given" in broken
    assert "AssertionError: assert" in broken or "E       assert" in broken, "asserts explain, as in one's own tests"


def test_nothing_but_the_suite_needs_pytest() -> None:
    subprocess.run([sys.executable, "-c", PLAIN], check=True)
