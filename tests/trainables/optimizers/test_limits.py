"""Special cases in which an optimizer must be something known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.optimizers import LAMB, LARS, MCLR, Batch, LayerWise, PercentDelta, lamb

SHAPES = [(6, 5), (4, 3, 2), (8,)]


def parameters() -> list[nn.Parameter]:
    gen = torch.Generator().manual_seed(1)
    return [nn.Parameter(torch.randn(s, generator=gen, dtype=torch.float64)) for s in SHAPES]


def set_gradients(params: list[nn.Parameter], t: int) -> None:
    gen = torch.Generator().manual_seed(100 + t)
    for p in params:
        p.grad = torch.randn(p.shape, generator=gen, dtype=torch.float64)


class One(LayerWise):
    def fraction(self, batch: Batch) -> tuple[Tensor, Tensor]:
        one = torch.ones(len(batch.weights), dtype=torch.float64)
        return one, one


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_radius_one_is_sgd_with_the_rate_inside_the_buffer(beta: float) -> None:
    ours, theirs = parameters(), parameters()
    mine = One(ours, 0.05, momentum=0.9, weight_decay=beta, exclude="none")
    sgd = torch.optim.SGD(theirs, 1.0, momentum=0.9)
    for t in range(20):
        rate = 0.05 / (1 + t)
        mine.param_groups[0]["lr"] = rate
        set_gradients(ours, t)
        set_gradients(theirs, t)
        for p in theirs:  # torch's SGD at rate 1 sums whatever it is given: give it the rate
            assert p.grad is not None
            p.grad = rate * (p.grad + beta * p.detach())
        mine.step()
        sgd.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_radius_one_at_a_constant_rate_is_torchs_sgd() -> None:
    ours, theirs = parameters(), parameters()
    mine, sgd = One(ours, 0.05, exclude="none"), torch.optim.SGD(theirs, 0.05, momentum=0.9)
    for t in range(20):
        set_gradients(ours, t)
        set_gradients(theirs, t)
        mine.step()
        sgd.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_excluded_tensors_move_by_momentum_sgd_without_decay() -> None:
    ours, theirs = parameters(), parameters()
    mine = LARS(ours, 1.0, weight_decay=0.5, excluded_lr=0.03)
    sgd = torch.optim.SGD([theirs[2]], 0.03, momentum=0.9)
    for t in range(20):
        set_gradients(ours, t)
        set_gradients(theirs, t)
        mine.step()
        sgd.step()
    torch.testing.assert_close(ours[2], theirs[2], rtol=1e-12, atol=1e-14)


def first_steps(optimizer: Any, params: list[nn.Parameter]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(w before, g, step) of each tensor."""
    set_gradients(params, 0)
    before = [p.detach().clone() for p in params]
    optimizer.step()
    return [(w, p.grad, w - p.detach()) for w, p in zip(before, params, strict=True) if p.grad is not None]


def test_lars_first_relative_step_is_gamma() -> None:
    params = parameters()
    for w, _, step in first_steps(LARS(params, 1e-3, exclude="none"), params):
        assert float(step.norm() / w.norm()) == pytest.approx(1e-3, rel=1e-6)


def test_percent_delta_steps_by_the_harmonic_mean_radius() -> None:
    params = parameters()
    for w, g, step in first_steps(PercentDelta(params, 1e-3, exclude="none"), params):
        harmonic = w.numel() / (1 / (w / g).abs()).sum()
        torch.testing.assert_close(step, 1e-3 * harmonic * g, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("reading", ["abs", "signed", "radius"])
def test_mclr_on_one_parameter_is_the_parabola_approximation(reading: Any) -> None:
    params = [nn.Parameter(torch.tensor([[-0.7]], dtype=torch.float64))]
    for w, g, step in first_steps(MCLR(params, 1e-3, reading=reading), params):
        torch.testing.assert_close(step, 1e-3 * (w / g).abs() * g, rtol=1e-12, atol=1e-16)


def test_mclr_signed_medians_of_symmetric_weights_vanish_and_absolute_ones_do_not() -> None:
    w = torch.tensor([[-2.0, -1.0, 0.001, 1.0, 2.0]], dtype=torch.float64)
    radius = {}
    for reading in ("abs", "signed"):
        p = nn.Parameter(w.clone())
        p.grad = torch.full_like(w, 0.5)
        optimizer = MCLR([p], 1e-3, reading=reading)
        optimizer.step()
        radius[reading] = optimizer.radii()["0.0"]
    assert radius == pytest.approx({"abs": 2.0, "signed": 0.002})


def test_lamb_with_ratio_one_is_adamw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamb, "norms", lambda xs: torch.ones(len(xs), dtype=torch.float64))
    ours, theirs = parameters(), parameters()
    mine = LAMB(ours, 0.01, weight_decay=0.1, exclude="none")
    adamw = torch.optim.AdamW(theirs, 0.01, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.1)
    for t in range(20):
        set_gradients(ours, t)
        set_gradients(theirs, t)
        mine.step()
        adamw.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_lamb_at_rate_zero_stays_even_where_its_direction_nearly_vanishes() -> None:
    p = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    p.grad = torch.zeros(1, 1, dtype=torch.float64)
    LAMB([p], 0.0, weight_decay=2e-313).step()
    assert p.item() == 1


def test_lamb_steps_have_the_length_of_the_weights() -> None:
    params = parameters()
    for w, _, step in first_steps(LAMB(params, 1e-3, weight_decay=0.1, exclude="none"), params):
        assert float(step.norm() / w.norm()) == pytest.approx(1e-3, rel=1e-10)
