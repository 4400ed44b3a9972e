"""What only a GPU can show: the same numbers there, every part of a trial at work, and no step that waits for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.tiny import config, noise_splits
from tests.trainables.test_tricks import ALL as TRICKS
from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta, optimizers
from trainables.probes import probes
from trainables.train import Trial
from trainables.tricks import tricks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

Make = Callable[..., Any]
MAKES: dict[str, Make] = {
    "lars": LARS,
    "percent_delta": PercentDelta,
    "lamb": LAMB,
    **{f"mclr {reading}": partial(MCLR, reading=reading) for reading in ("abs", "signed", "radius")},
    "mclr without mask": partial(MCLR, zero_mask=False),
    "mclr sampled": partial(MCLR, sample=16),
    "cblr": partial(CBLR, curvature="gnb", seed=0),
    "cblr layer-wise": partial(CBLR, curvature="gnb", layer_wise=True, seed=0),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {"sgd": {"lr": 0.02}, "cblr": {"gamma": 1e-3, "interval": 2}}
PROBES: dict[str, dict[str, Any]] = {
    "curvature": {"entries": 5}, "sharpness": {"images": 10}, "guards": {}, "radius": {},
}  # fmt: skip
DRAWN = ("curvature", "curvature_radius", "distance")  # with random numbers that a GPU draws otherwise


@pytest.fixture(autouse=True)
def _plain_float32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.get_num_threads()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(2)  # of the CPU's side; a GPU's machine has many, and tests run side by side
    yield
    torch.backends.cudnn.allow_tf32 = before[0]
    torch.set_num_threads(before[1])


# Optimizers


def steps(make: Make, device: str, dtype: torch.dtype, options: dict[str, Any], count: int) -> list[torch.Tensor]:
    """The weights of a small convolution net after `count` steps along given gradients and curvatures."""
    torch.manual_seed(0)
    shapes = [(6, 3, 3, 3), (6,), (40, 30), (), (10, 40)]
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64).to(device, dtype)) for shape in shapes]
    optimizer = make(params, 0.01, weight_decay=1e-3, **options)
    for _ in range(count):
        for p in params:
            g = torch.randn(p.shape, dtype=torch.float64)
            p.grad = (g * (g > -0.5)).to(device, dtype)  # zeros occur
            if isinstance(optimizer, CBLR):
                optimizer.state[p]["curvature"] = torch.rand(p.shape, dtype=torch.float64).to(device, dtype)
        optimizer.step()
    return [p.detach().cpu() for p in params]


@pytest.mark.parametrize("options", [{}, {"foreach": False}, {"maximize": True, "exclude": "none"}], ids=str)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-11), (torch.float32, 2e-5)], ids=str)
@pytest.mark.parametrize("name", MAKES)
def test_the_steps_are_those_of_a_cpu(name: str, dtype: torch.dtype, near: float, options: dict[str, Any]) -> None:
    if name == "percent_delta" and dtype == torch.float32:
        near = 1e-3  # weights near 0, whose rounding is large beside them, dominate its mean of |g/w|
    there, here = (steps(MAKES[name], device, dtype, options, 20) for device in ("cuda", "cpu"))
    for a, b in zip(there, here, strict=True):
        assert float((a - b).norm()) <= near * float(b.norm())


@contextmanager
def waiting_refused() -> Iterator[None]:
    """Whatever makes the host wait for the GPU raises inside."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MAKES)
def test_no_step_waits_for_the_gpu(name: str, dtype: torch.dtype, foreach: bool | None) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)).to("cuda", dtype)
    images, labels = torch.randn(8, 3, 6, 6, device="cuda", dtype=dtype), torch.arange(8, device="cuda")
    optimizer = MAKES[name](net.parameters(), 1e-3, weight_decay=1e-3, foreach=foreach)
    for step in range(4):
        optimizer.zero_grad()
        loss = cross_entropy(logits := net(images), labels)
        getattr(optimizer, "backward", lambda loss, _: loss.backward())(loss, logits)
        with waiting_refused() if step else nullcontext():  # the first one makes the buffers
            optimizer.step()
    assert all(bool(p.isfinite().all()) for p in net.parameters())
    with waiting_refused(), pytest.raises(RuntimeError, match="synchronizing"):  # the mode does notice
        float(loss.detach())


# Trials


def trained(device: str, **changes: Any) -> list[dict[str, float]]:
    usual = {"model": {"width": 0.03, "dropout": 0}, "batch_size": 20, "epochs": 2}
    trial = Trial(config(device=device, **{**usual, **changes}), noise_splits())
    while not trial.finished:
        trial.run_epoch()
    assert next(trial.model.parameters()).device.type == device
    rows = [{key: x for key, x in row.items() if not key.startswith("time/")} for row in trial.rows]
    assert all(math.isfinite(x) for row in rows for x in row.values())
    return [*rows, trial.run_test()]


def agree(one: list[dict[str, float]], other: list[dict[str, float]], near: float = 2e-3) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        assert a == pytest.approx(b, rel=near, abs=1e-7)


@pytest.mark.parametrize("model", [{"name": "alexnet", "dropout": 0}, {"name": "resnet18"}], ids=str)
@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_trains_as_on_a_cpu(name: str, model: dict[str, Any]) -> None:
    settings = {"name": name, **OPTIMIZERS.get(name, {"gamma": 1e-3})}
    changes = {"optimizer": settings, "model": {**model, "width": 0.03}, "epochs": 1}
    there, here = trained("cuda", **changes), trained("cpu", **changes)
    if name != "cblr":  # whose random signs a GPU draws otherwise
        # batch norm over few images, and Adam's quotients of small numbers, make rounding grow
        assert there[0]["train/loss"] == pytest.approx(here[0]["train/loss"], rel=0.02)


@pytest.mark.parametrize("name", tricks.names())
def test_every_trick_works_as_on_a_cpu(name: str) -> None:
    changes = {"trick": {name: TRICKS[name]}, "micro_batch": 8}
    there, here = trained("cuda", **changes), trained("cpu", **changes)
    if name != "noise":  # which a GPU draws otherwise
        agree(there, here)


@pytest.mark.parametrize("name", probes.names())
def test_every_probe_measures_as_on_a_cpu(name: str) -> None:
    changes = {
        "probe": {name: PROBES.get(name, {"entries": 64})}, "micro_batch": 6, "batch_size": 40,
        "optimizer": {"name": "lars", "gamma": 1e-3},
    }  # fmt: skip
    there, here = trained("cuda", **changes), trained("cpu", **changes)
    if name in DRAWN:
        assert [row.keys() for row in there] == [row.keys() for row in here]
    else:
        agree(there, here, near=0.01)


def test_bfloat16_trains() -> None:
    trained("cuda", model={"name": "resnet18", "width": 0.1}, precision="bfloat16")
    trained("cuda", model={"name": "alexnet", "width": 0.1, "dropout": 0.5}, precision="bfloat16")


def test_a_resumed_trial_goes_on() -> None:
    whole = config(device="cuda", epochs=3, model={"dropout": 0.2})
    through, first, second = (Trial(whole, noise_splits()) for _ in range(3))
    rows = [through.run_epoch() for _ in range(3)]
    first.run_epoch()
    second.load_state_dict(first.state_dict())
    for row in rows[1:]:
        assert second.run_epoch()["train/loss"] == pytest.approx(row["train/loss"], rel=1e-3)
