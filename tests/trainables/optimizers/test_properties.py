"""Properties that hold for any weights and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta

LAYER_WISE: dict[str, Callable[..., Any]] = {
    "lars": LARS,
    "percent_delta": PercentDelta,
    "abs": lambda p, **o: MCLR(p, reading="abs", **o),
    "signed": lambda p, **o: MCLR(p, reading="signed", **o),
    "radius": lambda p, **o: MCLR(p, reading="radius", **o),
}
SHAPES = st.sampled_from([(1, 1), (2, 3), (3,), (2, 1, 2), ()])


def parameter(w: Any, g: Any) -> nn.Parameter:
    p = nn.Parameter(torch.tensor(w))
    p.grad = torch.tensor(g)
    return p


def any_finite(dtype: Any, limit: float) -> Any:
    numbers = st.floats(-limit, limit, width=32 if dtype == np.float32 else 64)
    return SHAPES.flatmap(lambda s: st.tuples(*(arrays(dtype, s, elements=numbers) for _ in range(3))))


@pytest.mark.parametrize("rule", [*LAYER_WISE, "lamb"])
@settings(deadline=None, max_examples=60)
@given(
    data=any_finite(np.float32, float(np.finfo(np.float32).max)) | any_finite(np.float64, 1e300),
    rate=st.floats(0, 100),
    beta=st.floats(0, 1),
    momentum=st.floats(0, 0.99),
    exclude=st.sampled_from(["1d", "none"]),
    foreach=st.booleans(),
)
def test_finite_in_finite_out(
    rule: str, data: Any, rate: float, beta: float, momentum: float, exclude: str, foreach: bool
) -> None:
    make = LAYER_WISE.get(rule, LAMB)
    p = parameter(*data[:2])
    options = {"lr": rate, "weight_decay": beta, "momentum": momentum, "exclude": exclude, "foreach": foreach}
    optimizer = make([p], **options)
    for g in [data[1], data[2]] * 3:
        p.grad = torch.tensor(g)
        optimizer.step()
        assert p.grad.numpy().tobytes() == g.tobytes(), "the gradient is left alone, bit for bit"
    assert p.isfinite().all(), p


@pytest.mark.parametrize("layer_wise", [False, True])
@settings(deadline=None, max_examples=100)
@given(
    data=any_finite(np.float32, float(np.finfo(np.float32).max)) | any_finite(np.float64, 1e300),
    rate=st.floats(0, 100),
    beta=st.floats(0, 1),
    momentum=st.floats(0, 0.99),
    r_max=st.floats(1e-6, 1e12),
    exclude=st.sampled_from(["1d", "none"]),
    maximize=st.booleans(),
)
def test_cblr_stays_finite_whatever_gradient_and_curvature(layer_wise: bool, data: Any, **options: Any) -> None:
    w, g, h = data
    p = parameter(w, g)
    optimizer = CBLR([p], options.pop("rate"), weight_decay=options.pop("beta"), layer_wise=layer_wise, **options)
    for gradient, curvature in [(g, h), (h, g)] * 3:
        p.grad = torch.tensor(gradient)
        optimizer._estimates[p] = torch.tensor(curvature)  # as `backward` leaves it
        optimizer.step()
        assert p.grad.numpy().tobytes() == gradient.tobytes(), "the gradient is left alone, bit for bit"
    assert p.isfinite().all(), p
    assert all(value.isfinite().all() for value in optimizer.state[p].values())


@pytest.mark.parametrize("rule", LAYER_WISE)
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-4, 1e4),
    shape=st.sampled_from([(1, 1), (4, 3), (2, 3, 2)]),
    momentum=st.sampled_from([0.0, 0.9]),
)
def test_the_gradients_scale_does_not_matter(
    rule: str, seed: int, scale: float, shape: tuple[int, ...], momentum: float
) -> None:
    rng = np.random.default_rng(seed)
    w, grads = rng.normal(size=shape), rng.normal(size=(4, *shape))
    ends = []
    for factor in (1.0, scale):
        p = parameter(w, grads[0])
        optimizer = LAYER_WISE[rule]([p], lr=1e-3, momentum=momentum, r_max=1e12, floor=1e-12)
        for g in grads:
            p.grad = torch.tensor(factor * g)
            optimizer.step()
        fired = {name for name, counts in optimizer.guards().items() if any(counts.values())}
        assert not fired - {"masked"}
        ends.append(p.detach())
    moved = float((ends[0] - torch.tensor(w)).abs().max())
    assert moved > 0
    assert float((ends[0] - ends[1]).abs().max()) <= 1e-8 * moved
