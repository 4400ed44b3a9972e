"""The update rules in plain numpy float64, written from the equations page, for the tests to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Radius = Callable[[Array, Array, float], float]


def lars(w: Array, g: Array, beta: float) -> float:
    return float(np.sqrt((w**2).sum()) / (np.sqrt((g**2).sum()) + beta * np.sqrt((w**2).sum())))


def percent_delta(w: Array, g: Array, beta: float) -> float:
    return float(w.size / np.abs((g + beta * w) / np.where(np.abs(w) < 1e-6, 1e-6, w)).sum())


def lower_median(x: Array) -> float:
    return float(sorted(x.ravel())[(x.size - 1) // 2])


def mclr_abs(w: Array, g: Array, beta: float) -> float:
    w_m, g_m = lower_median(np.abs(w[g != 0])), lower_median(np.abs(g[g != 0]))
    return w_m / (g_m + beta * w_m)


def mclr_signed(w: Array, g: Array, beta: float) -> float:
    w_m, g_m = lower_median(w[g != 0]), lower_median(g[g != 0])
    return abs(w_m) / abs(g_m + beta * w_m)


def mclr_radius(w: Array, g: Array, beta: float) -> float:
    return lower_median(np.abs(w[g != 0] / (g + beta * w)[g != 0]))


@dataclass
class Run:
    """What both sides are given: s(t), the excluded tensors' rate (None: none are excluded)."""

    gamma: float
    momentum: float
    beta: float
    schedule: Sequence[float]
    excluded_lr: float | None


def layer_wise(radius: Radius, weights: list[Array], grads: list[list[Array]], run: Run) -> list[Array]:
    """v ← m v + γ s R (g + βw); w ← w - v, and momentum SGD without decay for the excluded."""
    result = []
    for i, start in enumerate(weights):
        w, v = start.copy(), np.zeros_like(start)
        excluded = run.excluded_lr is not None and start.ndim <= 1
        for s, step in zip(run.schedule, grads, strict=True):
            g = step[i]
            if excluded:
                v = run.momentum * v + (run.excluded_lr or 0.0) * s * g
            else:
                v = run.momentum * v + run.gamma * s * radius(w, g, run.beta) * (g + run.beta * w)
            w = w - v
        result.append(w)
    return result


def cblr_radius(g: Array, h: Array, r_max: float, floor: float) -> Array:
    return np.minimum((1 + g**2) ** 1.5 / np.maximum(np.abs(h), floor), r_max)


def cblr(
    weights: list[Array],
    grads: list[list[Array]],
    curvatures: list[list[Array]],
    run: Run,
    layer_wise: bool,
    r_max: float,
    floor: float,
) -> list[Array]:
    """Paper (9), (10) with g → g + βw, h → h + β, and the curvature of each step given."""
    result = []
    for i, start in enumerate(weights):
        w, v = start.copy(), np.zeros_like(start)
        excluded = run.excluded_lr is not None and start.ndim <= 1
        for s, gs, hs in zip(run.schedule, grads, curvatures, strict=True):
            g, h = gs[i], hs[i]
            if excluded:
                v = run.momentum * v + (run.excluded_lr or 0.0) * s * g
            else:
                g = g + run.beta * w
                radius = cblr_radius(g, h + run.beta, r_max, floor)
                v = run.momentum * v + run.gamma * s * (lower_median(radius) if layer_wise else radius) * g
            w = w - v
        result.append(w)
    return result


def lamb(weights: list[Array], grads: list[list[Array]], run: Run, beta2: float, eps: float) -> list[Array]:
    """You et al. 2019, algorithm 2, with bias correction and φ the identity; excluded: R = 1, no decay."""
    result = []
    for i, start in enumerate(weights):
        w, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
        excluded = run.excluded_lr is not None and start.ndim <= 1
        for t, (s, step) in enumerate(zip(run.schedule, grads, strict=True), start=1):
            g = step[i]
            m = run.momentum * m + (1 - run.momentum) * g
            v = beta2 * v + (1 - beta2) * g**2
            u = m / (1 - run.momentum**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
            ratio = 1.0
            if not excluded:
                u = u + run.beta * w
                ratio = float(np.sqrt((w**2).sum()) / np.sqrt((u**2).sum()))
            w = w - run.gamma * s * ratio * u
        result.append(w)
    return result
