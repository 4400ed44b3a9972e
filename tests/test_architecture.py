"""ARCHITECTURE.md is true: the files that it names exist, and the loop calls the hooks that it shows, in its order."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import config, noise_splits
from trainables.probes import Hooks, Observer
from trainables.train import Trial
from trainables.tricks import Trick

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
LOOP = TEXT.partition("```python\n")[2].partition("```")[0]
SHOWN = re.findall(r"\b(observer|trick)\.(\w+)\((.*?)\)", LOOP)
KINDS: dict[str, type] = {"observer": Observer, "trick": Trick}


def hooks(kind: type) -> set[str]:
    return {name for name, member in vars(kind).items() if inspect.isfunction(member) and not name.startswith("_")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loop_shows_every_hook_and_its_arguments(kind: str) -> None:
    shown = {name: words.split(", ") if words else [] for of, name, words in SHOWN if of == kind}
    assert shown.keys() == hooks(KINDS[kind])
    for name, words in shown.items():
        assert list(inspect.signature(getattr(KINDS[kind], name)).parameters)[1:] == words, name


def test_the_loop_calls_its_hooks_in_the_order_shown() -> None:
    calls: list[tuple[str, str]] = []

    def recorded(kind: str, name: str) -> Callable[..., Any]:
        usual = getattr(KINDS[kind], name)

        def call(self: object, *words: Any) -> Any:
            calls.append((kind, name))
            return True if name == "selects" else usual(self, *words)

        return call

    def recording(kind: str) -> Any:
        base = KINDS[kind]
        return type("Recording", (base,), {name: recorded(kind, name) for name in hooks(base)})()

    changes = {"trick": {"recording": recording("trick")}}
    trial = Trial(config(batch_size=40).model_copy(update=changes), noise_splits())
    trial.observers = {"recording": recording("observer")}
    trial.hooks = Hooks(trial.observers.values())
    calls.clear()  # the constructor asks for batch sizes
    trial.run_epoch()
    first_calls = list(dict.fromkeys(calls))
    assert first_calls == [(kind, name) for kind, name, _ in SHOWN]


def test_the_files_it_names_exist() -> None:
    named = set(re.findall(r"`([\w/]+/(?:[\w]+\.\w+)?)`", TEXT))
    assert len(named) > 25
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_the_layers_it_names_are_the_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["trainables"])
    assert re.findall(r"^    (\S.*)$", TEXT.partition("which a contract in")[2], re.MULTILINE) == layers
