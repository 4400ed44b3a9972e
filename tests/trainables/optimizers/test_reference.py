"""Fifty steps of every optimizer against the numpy references."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from tests.trainables.optimizers import references
from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta

STEPS = 50
SHAPES = [(5, 4), (3, 2, 3, 2), (7,), (), (1, 6)]
RULES = {
    "lars": (LARS, references.lars),
    "percent_delta": (PercentDelta, references.percent_delta),
    "mclr abs": (partial(MCLR, reading="abs"), references.mclr_abs),
    "mclr signed": (partial(MCLR, reading="signed"), references.mclr_signed),
    "mclr radius": (partial(MCLR, reading="radius"), references.mclr_radius),
}
CASES = [(0.0, 0.0), (0.9, 0.0), (0.0, 0.05), (0.9, 0.05)]  # momentum, weight decay
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def problem(dtype: torch.dtype) -> tuple[list[Any], list[list[Any]]]:
    """Weights and a fixed sequence of gradients that both sides hold exactly; a fifth of the entries is 0.

    No median falls near 0, where a radius explodes and rounding decides its size.
    """
    rng = np.random.default_rng(7)
    kind = np.float32 if dtype == torch.float32 else np.float64

    def draw(shape: tuple[int, ...], zeros: bool) -> Any:
        x = rng.uniform(0.5, 2, size=shape) * np.where(rng.random(shape) < 0.8, 1, -1)
        keep = (rng.random(shape) > 0.2) | (np.arange(x.size).reshape(shape) == 0)
        return np.asarray(x * keep if zeros else x, dtype=kind).astype(np.float64)

    return [draw(s, False) for s in SHAPES], [[draw(s, True) for s in SHAPES] for _ in range(STEPS)]


def schedule(scheduled: bool) -> list[float]:
    if not scheduled:
        return [1.0] * STEPS
    return [(t + 1) / 5 if t < 5 else 0.5 * (1 + np.cos(np.pi * t / STEPS)) for t in range(STEPS)]


def torch_run(make: Any, weights: list[Any], grads: list[list[Any]], factors: list[float]) -> list[Any]:
    params = [nn.Parameter(torch.tensor(w, dtype=make.dtype)) for w in weights]
    optimizer: Optimizer = make(params)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    for s, step in zip(factors, grads, strict=True):
        for p, g in zip(params, step, strict=True):
            p.grad = torch.tensor(g, dtype=make.dtype)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * s
        optimizer.step()
    return [p.detach().double().numpy() for p in params]


class Make:
    def __init__(self, dtype: torch.dtype, build: Any, **options: Any) -> None:
        self.dtype, self.build, self.options = dtype, build, options

    def __call__(self, params: Any) -> Optimizer:
        optimizer: Optimizer = self.build(params, **self.options)
        return optimizer


def assert_agree(ours: list[Any], theirs: list[Any], start: list[Any], tolerance: float) -> None:
    for a, b, w in zip(ours, theirs, start, strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()
        assert np.abs(b - w).max() > 100 * tolerance * np.abs(w).max(), "the reference hardly moved"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("exclude", ["1d", "none"])
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(("momentum", "beta"), CASES)
@pytest.mark.parametrize("rule", RULES)
def test_layer_wise(rule: str, momentum: float, beta: float, scheduled: bool, exclude: str, dtype: torch.dtype) -> None:
    build, radius = RULES[rule]
    start, grads = problem(dtype)
    run = references.Run(0.003, momentum, beta, schedule(scheduled), 0.02 if exclude == "1d" else None)
    options = {"momentum": momentum, "weight_decay": beta, "excluded_lr": 0.02, "exclude": exclude}
    make = Make(dtype, build, lr=0.003, r_max=1e9, **options)
    ours = torch_run(make, start, grads, schedule(scheduled))
    assert_agree(ours, references.layer_wise(radius, start, grads, run), start, TOLERANCE[dtype])


class GivenCurvature(CBLR):
    """CBLR that is told the curvature of every step."""

    def __init__(self, params: Any, curvatures: list[list[Any]], **options: Any) -> None:
        self.curvatures = iter(curvatures)
        super().__init__(params, **options)

    def step(self, closure: Any = None) -> Any:
        ordered = sorted((p for group in self.param_groups for p in group["params"]), key=lambda p: self.order(p))
        for p, h in zip(ordered, next(self.curvatures), strict=True):
            self.state[p]["curvature"] = torch.tensor(h, dtype=p.dtype)
        return super().step(closure)

    @staticmethod
    def order(p: Any) -> int:
        return SHAPES.index(tuple(p.shape))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("layer_wise", [False, True])
@pytest.mark.parametrize("exclude", ["1d", "none"])
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(("momentum", "beta"), CASES)
def test_cblr(
    momentum: float, beta: float, scheduled: bool, exclude: str, layer_wise: bool, dtype: torch.dtype
) -> None:
    start, grads = problem(dtype)
    curvatures = [[0.3 * g[::-1].copy() if g.ndim else 0.3 * g for g in step] for step in grads]  # zeros and signs too
    run = references.Run(0.003, momentum, beta, schedule(scheduled), 0.02 if exclude == "1d" else None)
    options = {"momentum": momentum, "weight_decay": beta, "excluded_lr": 0.02, "exclude": exclude, "r_max": 4.0}
    options |= {"floor": 0.2, "layer_wise": layer_wise}
    make = Make(dtype, GivenCurvature, lr=0.003, curvatures=curvatures, **options)
    ours = torch_run(make, start, grads, schedule(scheduled))
    theirs = references.cblr(start, grads, curvatures, run, layer_wise, r_max=4.0, floor=0.2)
    assert_agree(ours, theirs, start, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("exclude", ["1d", "none"])
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize(("momentum", "beta"), CASES)
def test_lamb(momentum: float, beta: float, scheduled: bool, exclude: str, dtype: torch.dtype) -> None:
    start, grads = problem(dtype)
    run = references.Run(0.003, momentum, beta, schedule(scheduled), 0.003 if exclude == "1d" else None)
    make = Make(dtype, LAMB, lr=0.003, momentum=momentum, beta2=0.98, eps=1e-3, weight_decay=beta, exclude=exclude)
    ours = torch_run(make, start, grads, schedule(scheduled))
    assert_agree(ours, references.lamb(start, grads, run, 0.98, 1e-3), start, TOLERANCE[dtype])
