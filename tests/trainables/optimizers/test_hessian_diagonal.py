"""Estimates of the Hessian's diagonal against the Hessian itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.optimizers import hessian_diagonal

SAMPLES = 2000
WEIGHTS = {"mean": [1 / 12] * 12, "discard": [0.0] * 4 + [1 / 8] * 8, "uneven": [i / 78 for i in range(1, 13)]}


def net() -> nn.Sequential:
    """85 parameters, smooth, so that no second derivative is 0 by construction."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5)).double()


def material(kind: str) -> tuple[nn.Sequential, list[nn.Parameter], Tensor, Tensor, Tensor]:
    """Net, parameters, logits, weights and the weighted loss of twelve samples."""
    model = net()
    gen = torch.Generator().manual_seed(4)
    x, y = torch.randn(12, 4, generator=gen).double(), torch.randint(5, (12,), generator=gen)
    logits, weights = model(x), torch.tensor(WEIGHTS[kind], dtype=torch.float64)
    loss = (cross_entropy(logits, y, reduction="none") * weights).sum()
    return model, list(model.parameters()), logits, weights, loss


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def whole_hessians_diagonal(loss: Tensor, params: list[nn.Parameter]) -> Tensor:
    """Rows of the whole Hessian, none of it by the code under test."""
    grad = torch.cat([g.flatten() for g in torch.autograd.grad(loss, params, create_graph=True)])
    rows = [torch.cat([r.flatten() for r in torch.autograd.grad(g, params, retain_graph=True)]) for g in grad]
    return torch.stack(rows).diagonal()


def gauss_newton_diagonal(logits: Tensor, weights: Tensor, params: list[nn.Parameter]) -> Tensor:
    """Σ aᵢ diag(Jᵢᵀ (diag p - p pᵀ) Jᵢ), J the Jacobian of sample i's logits."""
    total = torch.zeros(sum(p.numel() for p in params), dtype=torch.float64)
    for z, a in zip(logits, weights, strict=True):
        jacobian = torch.stack(
            [torch.cat([g.flatten() for g in torch.autograd.grad(k, params, retain_graph=True)]) for k in z]
        )
        p = z.detach().softmax(0)
        total += a * ((jacobian * ((p.diag() - torch.outer(p, p)) @ jacobian)).sum(0))
    return total


def assert_unbiased(draw: Callable[[int], Tensor], expected: Tensor) -> None:
    """Of the entries 99 % within four standard errors; those that never vary, equal."""
    drawn = torch.stack([draw(i) for i in range(SAMPLES)])
    error, spread = (drawn.mean(0) - expected).abs(), drawn.std(0) / SAMPLES**0.5
    varies = spread > 1e-12
    assert varies.double().mean() > 0.5
    assert (error[varies] <= 4 * spread[varies]).double().mean() >= 0.99
    assert error[~varies].lt(1e-9).all()


@pytest.mark.parametrize("kind", WEIGHTS)
def test_exact_is_the_hessians_diagonal(kind: str) -> None:
    _, params, _, _, loss = material(kind)
    grads = torch.autograd.grad(loss, params, create_graph=True)
    torch.testing.assert_close(flat(hessian_diagonal.exact(grads, params)), whole_hessians_diagonal(loss, params))


def test_exact_of_some_entries() -> None:
    _, params, _, _, loss = material("mean")
    grads = torch.autograd.grad(loss, params, create_graph=True)
    entries = [torch.tensor([2, 0]), torch.tensor([1]), torch.tensor([3, 5, 4]), torch.tensor([0])]
    some, whole = hessian_diagonal.exact(grads, params, entries), hessian_diagonal.exact(grads, params)
    for part, h, at in zip(some, whole, entries, strict=True):
        assert part.tolist() == h.flatten()[at].tolist()


@pytest.mark.parametrize("kind", WEIGHTS)
def test_hutchinson_is_unbiased(kind: str) -> None:
    _, params, _, _, loss = material(kind)
    grads = torch.autograd.grad(loss, params, create_graph=True)
    gen = torch.Generator().manual_seed(0)

    def draw(_: int) -> Tensor:
        return flat(hessian_diagonal.hutchinson(grads, params, hessian_diagonal.random_signs(params, gen), retain=True))

    expected = whole_hessians_diagonal(loss, params)
    assert_unbiased(draw, expected)
    late = torch.stack([draw(i).abs() for i in range(200)]).mean(0)
    assert float((late / expected.abs()).median()) > 1.5, "|·| before the mean is no estimate: hence the signs"


@pytest.mark.parametrize("kind", WEIGHTS)
def test_gauss_newton_bartlett_is_unbiased(kind: str) -> None:
    _, params, logits, weights, _ = material(kind)
    gen = torch.Generator().manual_seed(0)

    def draw(_: int) -> Tensor:
        estimate = flat(hessian_diagonal.gauss_newton_bartlett(logits, weights, params, gen))
        assert (estimate >= 0).all()
        return estimate

    assert_unbiased(draw, gauss_newton_diagonal(logits, weights, params))


def test_micro_batches_add_up_to_the_gauss_newton_diagonal_too() -> None:
    _, params, logits, weights, _ = material("uneven")
    gen = torch.Generator().manual_seed(0)

    def draw(_: int) -> Tensor:
        parts = [slice(0, 5), slice(5, 12)]
        return sum(flat(hessian_diagonal.gauss_newton_bartlett(logits[p], weights[p], params, gen)) for p in parts)

    assert_unbiased(draw, gauss_newton_diagonal(logits, weights, params))


def test_a_linear_loss_and_an_unused_parameter_have_no_curvature() -> None:
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    params = [used, unused]
    grads = torch.autograd.grad(used.sum(), params, create_graph=True, allow_unused=True)
    signs = hessian_diagonal.random_signs(params, torch.Generator())
    for estimate in (
        hessian_diagonal.hutchinson(grads, params, signs, retain=True),
        hessian_diagonal.exact(grads, params),
    ):
        assert [h.tolist() for h in estimate] == [[0, 0, 0], [0, 0]]


def test_signs_are_fair_independent_and_repeat() -> None:
    p = torch.zeros(101, 99)
    (a,), (b,), (again,) = (
        hessian_diagonal.random_signs([p], torch.Generator().manual_seed(seed)) for seed in (0, 1, 0)
    )  # fmt: skip
    assert a.shape == p.shape
    assert set(a.unique().tolist()) == {-1, 1}
    assert torch.equal(a, again)
    for x in (a, b, a * b, a[:, 1:] * a[:, :-1], a[:, 8:] * a[:, :-8]):
        assert abs(float(x.mean())) < 5 / x.numel() ** 0.5
