"""What every registered probe owes: it changes nothing, repeats after a restart, and is free when it is off."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from tests.tiny import config, noise_splits
from trainables.probes import Hooks, Observer, Probe, probes
from trainables.step import Part, Step
from trainables.train import Trial

OPTIONS = {"curvature": {"entries": 5}, "sharpness": {"iterations": 3, "images": 10}, "noise_scale": {"samples": 3}}
WHOLE = {name: {"batch_size": 40, "micro_batch": 6, "trick": {}} for name in ("gradient_law", "radius_law")}
DISCARD = {"discard": {"p": 0.3, "epochs": 1}}


def run(**changes: object) -> tuple[list[dict[str, float]], list[torch.Tensor]]:
    trial = Trial(config(**{"model": {"width": 0.02}, "batch_size": 20, "epochs": 2, **changes}), noise_splits())
    while not trial.finished:
        trial.run_epoch()
    rows = [{key: x for key, x in row.items() if not key.startswith("time/")} for row in trial.rows]
    return rows, [x.clone() for x in trial.model.state_dict().values()]


def without(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: x for key, x in row.items() if not key.startswith("probe/")} for row in rows]


@pytest.mark.parametrize("name", probes.names())
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"micro_batch": 6, "trick": DISCARD},
        {"micro_batch": 6, "model": {"name": "resnet18", "width": 0.03}, "optimizer": {"name": "mclr", "gamma": 1e-3}},
        {"optimizer": {"name": "cblr", "gamma": 1e-3, "curvature": "gnb", "interval": 2}, "precision": "bfloat16"},
    ],
    ids=["plain", "discard", "batch norm", "curvature"],
)
def test_a_trial_has_the_same_bits_with_and_without(name: str, changes: dict[str, object]) -> None:
    changes = changes | WHOLE.get(name, {})
    rows, weights = run(probe={name: OPTIONS.get(name, {})}, **changes)
    plain, expected = run(**changes)
    assert without(rows) == plain
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    measured = [x for row in rows for key, x in row.items() if key.startswith("probe/")]
    assert all(math.isfinite(x) for x in measured)
    assert measured or name in ("guards", "radius", "noise_scale")


@pytest.mark.parametrize("name", probes.names())
def test_a_resumed_trial_measures_the_same(name: str) -> None:
    changes = {"model": {"width": 0.02}, "batch_size": 20, "micro_batch": 10, "epochs": 3} | WHOLE.get(name, {})
    whole = config(probe={name: OPTIONS.get(name, {})}, optimizer={"name": "lars", "gamma": 0.01}, **changes)
    through, first, second = (Trial(whole, noise_splits()) for _ in range(3))
    expected = [through.run_epoch() for _ in range(3)]
    first.run_epoch()
    second.load_state_dict(first.state_dict())
    for row in expected[1:]:
        again = second.run_epoch()
        assert {k: v for k, v in again.items() if not k.startswith("time/")} == {
            k: v for k, v in row.items() if not k.startswith("time/")
        }


def test_probes_do_not_disturb_each_other() -> None:
    every = {name: OPTIONS.get(name, {}) for name in probes.names()}
    changes = {"batch_size": 40, "micro_batch": 6}
    together, _ = run(probe=every, **changes)
    for name, options in every.items():
        alone, _ = run(probe={name: options}, **changes)
        for all_, one in zip(together, alone, strict=True):
            assert {key: all_[key] for key in one} == one, name


def test_hooks_that_nobody_overrides_are_not_called() -> None:
    class Recording(Observer):
        def before_step(self, step: Step) -> None: ...

    hooks = Hooks([Observer(), Recording()])
    idle = ("before_epoch", "before_backward", "after_part", "after_backward", "after_step")
    assert [getattr(hooks, name) for name in idle] == [[]] * 5
    assert len(hooks.before_step) == 1


def test_hooks_come_in_the_order_of_the_step() -> None:
    calls: list[str] = []

    class Recording(Observer):
        def before_epoch(self, epoch: int) -> None:
            calls.append(f"epoch {epoch}")

        def before_backward(self, *_: object) -> None:
            calls.append("backward")

        def after_part(self, part: Part) -> None:
            calls.append(f"part {len(part.weights)}")

        def after_backward(self, part: Part) -> None:
            calls.append(f"sum of {part.step.number}")

        def before_step(self, step: Step) -> None:
            calls.append(f"step {step.number}")

        def after_step(self, step: Step) -> None:
            calls.append(f"moved by {step.number}")

    trial = Trial(config(batch_size=30, micro_batch=20), noise_splits())
    trial.hooks = Hooks([Recording()])
    trial.run_epoch()
    assert calls == [
        "epoch 1",
        "backward",
        "part 20",
        "sum of 0",
        "backward",
        "part 10",
        "sum of 0",
        "step 0",
        "moved by 0",
    ]


@pytest.mark.parametrize("name", probes.names())
def test_a_probe_says_what_it_measures_and_costs(name: str) -> None:
    probe = probes.get(name)
    assert issubclass(probe, Probe)
    assert f"probe: {{{name}: {{}}}}" in (probe.__doc__ or "")
    if name not in ("guards", "radius", "curvature"):
        assert all(word in (probe.__doc__ or "") for word in ("Logs", "Cost"))
    with pytest.raises(ValidationError, match="unknown key"):
        probe.model_validate({"nonsense": 1})
