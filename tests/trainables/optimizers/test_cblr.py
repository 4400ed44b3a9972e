"""CBLR: what it needs from the backward pass, when, and what it makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import cross_entropy

from tests.tiny import config, noise_splits
from trainables.optimizers import CBLR, hessian_diagonal
from trainables.train import Trial


def net(*middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), *middle, nn.Linear(5, 3)).double()


def data(n: int = 16) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=gen).double(), torch.randint(3, (n,), generator=gen)


def curvatures(optimizer: CBLR) -> list[Tensor]:
    return [state["curvature"] for state in optimizer.state.values() if "curvature" in state]


def test_five_lines_of_ones_own_loop_train() -> None:
    model, (x, y) = net(), data()
    optimizer = CBLR(model.parameters(), lr=0.05, r_max=10)
    losses = []
    for _ in range(50):
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        optimizer.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("kind", ["hutchinson", "gnb", "exact"])
def test_gradients_are_those_of_a_plain_backward_pass(kind: Any) -> None:
    model, (x, y) = net(nn.Dropout(0.5), nn.BatchNorm1d(5)), data()
    optimizer = CBLR(model.parameters(), lr=0.1, curvature=kind)
    for due in (True, False):
        assert optimizer.due is due
        optimizer.zero_grad()
        torch.manual_seed(7)
        cross_entropy(model(x), y).backward()
        expected = [p.grad for p in model.parameters() if p.grad is not None]
        optimizer.zero_grad()
        torch.manual_seed(7)
        logits = model(x)
        for _ in range(2):  # gradients accumulate, as in backward()
            optimizer.backward(cross_entropy(logits, y) / 2, logits)
            logits = torch.manual_seed(7) and model(x)
        for p, g in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(p.grad, g)
            assert p.grad is not None
            assert not p.grad.requires_grad
        optimizer.step()


@pytest.mark.parametrize("kind", ["hutchinson", "gnb", "exact"])
def test_one_forward_pass_serves_both(kind: Any) -> None:
    """So dropout's mask is one, and batch norm moves once."""
    norm, drop = nn.BatchNorm1d(5), nn.Dropout(0.5)
    model, (x, y) = net(norm, drop), data()
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    logits = model(x)
    CBLR(model.parameters(), lr=0.1, curvature=kind, samples=3).backward(cross_entropy(logits, y), logits)
    assert len(passes) == 1
    assert norm.num_batches_tracked == 1


def test_the_curvature_is_that_of_the_gradients_own_dropout_mask() -> None:
    model, (x, y) = net(nn.Dropout(0.5)), data()
    optimizer = CBLR(model.parameters(), lr=0.1, curvature="exact")
    torch.manual_seed(7)
    optimizer.backward(cross_entropy(model(x), y))
    optimizer.step()
    model, params = net(nn.Dropout(0.5)), []
    torch.manual_seed(7)
    loss = cross_entropy(model(x), y)
    params = [p for p in model.parameters() if p.ndim > 1]
    expected = hessian_diagonal.exact(torch.autograd.grad(loss, params, create_graph=True), params)
    for ours, theirs in zip(curvatures(optimizer), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", ["hutchinson", "exact"])
@pytest.mark.parametrize("trick", [{}, {"discard": {"p": 0.4, "epochs": 5}}])
def test_micro_batches_of_a_trial_give_the_whole_batchs_curvature(trick: Any, kind: str) -> None:
    found = []
    for micro in (None, 7):
        optimizer = {"name": "cblr", "gamma": 1e-3, "curvature": kind}
        whole = config(micro_batch=micro, model={"width": 0.02, "dropout": 0}, batch_size=20, trick=trick,
                       optimizer=optimizer)  # fmt: skip
        torch.manual_seed(0)
        trial = Trial(whole, noise_splits(), whole.model.build(3).double())
        if kind == "exact":  # of one layer: a pass an entry
            for group in trial.optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p.ndim != 2]
        trial.gradient(trial.step(1, 0, 1, torch.arange(20)))
        trial.optimizer.step()
        found.append(curvatures(trial.optimizer))
    assert any(h.abs().max() > 1e-3 for h in found[0])
    for one_pass, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, one_pass, rtol=1e-7, atol=1e-10)


# Refreshes


def test_refreshes_come_every_interval_and_an_average_follows() -> None:
    model, (x, y) = net(), data()
    optimizer = CBLR(model.parameters(), lr=0.0, curvature="exact", interval=3, ema=0.75, excluded_lr=0.0)
    exact = {}
    expected = None
    for step in range(7):
        scale = 1.0 + step
        before = [h.clone() for h in curvatures(optimizer)]
        optimizer.zero_grad()
        optimizer.backward(scale * cross_entropy(model(x), y))
        optimizer.step()
        exact[step] = scale
        after = curvatures(optimizer)
        if step == 0:
            one = [h.clone() for h in after]
            expected = 1.0
        elif step % 3 == 0:
            expected = 0.75 * expected + 0.25 * scale
        else:
            assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
        for h, unit in zip(after, one, strict=True):
            torch.testing.assert_close(h, expected * unit)


def test_samples_are_averaged_with_their_signs() -> None:
    model, (x, y) = net(), data()
    wide = [p for p in model.parameters() if p.ndim > 1]
    optimizer = CBLR(model.parameters(), lr=0.0, samples=3000, exclude="1d", seed=5)
    optimizer.backward(cross_entropy(model(x), y))
    optimizer.step()
    exact = hessian_diagonal.exact(torch.autograd.grad(cross_entropy(model(x), y), wide, create_graph=True), wide)
    for h, truth in zip(curvatures(optimizer), exact, strict=True):
        assert float((h - truth).abs().max()) < 0.2 * float(truth.abs().max())  # absolute ones are 1.5 times off


def test_random_vectors_differ_by_step_sample_and_seed_and_repeat() -> None:
    def drawn(seed: int, step: int, sample: int) -> list[float]:
        optimizer = CBLR([nn.Parameter(torch.zeros(2, 2))], 0.1, seed=seed)
        optimizer.param_groups[0]["steps"] = step
        return torch.rand(3, generator=optimizer._generator(torch.device("cpu"), sample)).tolist()

    cases = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert len({tuple(drawn(*case)) for case in cases}) == 4
    assert drawn(0, 1, 2) == drawn(0, 1, 2)


def test_without_a_seed_torchs_decides() -> None:
    seeds = []
    for seed in (3, 4, 3):
        torch.manual_seed(seed)
        torch.rand(seed)
        seeds.append(CBLR([nn.Parameter(torch.zeros(2, 2))], 0.1).param_groups[0]["seed"])
    assert seeds == [3, 4, 3]


def test_a_parameter_that_thaws_is_estimated_at_once() -> None:
    model, (x, y) = net(), data()
    model[0].weight.requires_grad_(False)
    optimizer = CBLR(model.parameters(), lr=0.01, interval=10)
    for step in range(3):
        if step == 2:
            model[0].weight.requires_grad_(True)
        optimizer.zero_grad()
        optimizer.backward(cross_entropy(model(x), y))
        optimizer.step()
        assert ("curvature" in optimizer.state[model[0].weight]) == (step == 2)


def test_zero_grad_forgets_the_curvature_found_with_the_gradients() -> None:
    model, (x, y) = net(), data()
    found = []
    for abandoned in (0, 2):
        optimizer = CBLR(model.parameters(), lr=0.0, excluded_lr=0.0, curvature="exact")
        for _ in range(abandoned):
            optimizer.backward(cross_entropy(model(x), y))
            optimizer.zero_grad()
        optimizer.backward(cross_entropy(model(x), y))
        optimizer.step()
        found.append(curvatures(optimizer))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_an_estimate_that_is_not_finite_leaves_its_entry() -> None:
    p = nn.Parameter(torch.ones(1, 3))
    optimizer = CBLR([p], 0.1, ema=0.5)
    for estimate, expected in [([2.0, float("nan"), 1.0], [2.0, 0.0, 1.0]),
                               ([float("inf"), 4.0, 3.0], [2.0, 2.0, 2.0])]:  # fmt: skip
        optimizer._estimates[p] = torch.tensor([estimate])
        optimizer._begin()
        assert optimizer.state[p]["curvature"].tolist() == [expected]


def test_a_loss_left_over_after_the_pass_holds_no_graph() -> None:
    """A graph that outlives its step would double the memory of the next."""
    model, (x, y) = net(), data()
    loss = cross_entropy(model(x), y)
    CBLR(model.parameters(), lr=0.1, samples=2).backward(loss)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


# The step


def stepped(h: list[list[float]], g: list[list[float]], **options: Any) -> tuple[nn.Parameter, CBLR]:
    p = nn.Parameter(torch.ones(len(g), len(g[0]), dtype=torch.float64))
    p.grad = torch.tensor(g, dtype=torch.float64)
    optimizer = CBLR([p], **{"lr": 0.1, **options})
    optimizer.state[p]["curvature"] = torch.tensor(h, dtype=torch.float64)
    optimizer.step()
    return p, optimizer


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_layer_wise_takes_the_median_of_the_parameters_radii(beta: float) -> None:
    gen = torch.Generator().manual_seed(0)
    for shape in [(3, 5), (4, 6)]:
        h, g = (torch.randn(shape, generator=gen, dtype=torch.float64) for _ in range(2))
        p, _ = stepped(h.tolist(), g.tolist(), weight_decay=beta, r_max=1e9)
        each = (1 - p.detach()) / (0.1 * (g + beta))
        _, whole = stepped(h.tolist(), g.tolist(), weight_decay=beta, r_max=1e9, layer_wise=True)
        assert whole.radii()["0.0"] == pytest.approx(float(each.median()), rel=1e-9)


def test_near_a_minimum_it_is_newtons_step() -> None:
    """There g is small and R = 1/|h|: on a quadratic, γ = 1 lands on the minimum whatever the curvatures."""
    p = nn.Parameter(1e-6 * torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64))
    steep = torch.tensor([[0.5, 3.0, 40.0]], dtype=torch.float64)
    optimizer = CBLR([p], lr=1.0, curvature="exact")
    optimizer.backward((0.5 * steep * p**2).sum())
    optimizer.step()
    assert float(p.detach().abs().max()) < 1e-12


def test_maximising_climbs_as_minimising_falls() -> None:
    up, _ = stepped([[2.0, -3.0]], [[0.5, -0.5]], maximize=True, weight_decay=0.1)
    down, _ = stepped([[-2.0, 3.0]], [[-0.5, 0.5]], weight_decay=0.1)
    assert torch.equal(up, down)


@pytest.mark.parametrize(
    ("h", "options", "expected"),
    [
        ([[2.0, 3.0, 4.0]], {}, {}),
        ([[2.0, 0.0, 4.0]], {}, {"floor": 1, "r_max": 1}),
        ([[2.0, 0.01, 4.0]], {"r_max": 10.0}, {"r_max": 1}),
        ([[2.0, 0.01, 4.0]], {"r_max": 10.0, "layer_wise": True}, {}),
        ([[2.0, 0.01, 0.01]], {"r_max": 10.0, "layer_wise": True}, {"r_max": 1}),
        ([[2.0, 0.3, 4.0]], {"floor": 0.5}, {"floor": 1}),
        ([[2.0, 3.0, 4.0]], {"lr": 1e300, "r_max": 1e30}, {"overflow": 1}),
    ],
)
def test_a_guard_counts_the_steps_it_fired_in(h: Any, options: dict[str, Any], expected: dict[str, int]) -> None:
    _, optimizer = stepped(h, [[0.1, 0.2, 0.3]], **options)
    assert {name: counts["0.0"] for name, counts in optimizer.guards().items() if counts["0.0"]} == expected


def test_radii_tell_the_median() -> None:
    _, optimizer = stepped([[2.0, 4.0, 5.0]], [[0.0, 0.0, 0.0]])
    assert optimizer.radii()["0.0"] == pytest.approx(0.25)


# Errors


class Attention(nn.Module):
    """Five tokens of four equal numbers each attend to one another."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.view(len(x), 1, 5, 1) * torch.ones(4)  # in memory of their own, as the fast kernels want them
        return functional.scaled_dot_product_attention(tokens, tokens, tokens).mean(-1).flatten(1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["attention", "compiled"])
def test_without_second_derivatives_the_error_names_gnb_which_trains(kind: str) -> None:
    torch._dynamo.reset()
    plain, (x, y) = net(*[Attention()] * (kind == "attention")).float(), data()
    model = torch.compile(plain, backend="aot_eager") if kind == "compiled" else plain
    x = x.float()
    optimizer = CBLR(plain.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match=r'needs second derivatives.*curvature="gnb" with backward\(loss, logits\)'):
        optimizer.backward(cross_entropy(model(x), y))
    assert all(p.grad is None for p in plain.parameters())
    optimizer = CBLR(plain.parameters(), lr=0.05, r_max=10, curvature="gnb", seed=0)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = cross_entropy(logits := model(x), y)
        optimizer.backward(loss, logits)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_a_step_without_curvature_is_refused_before_anything_moved() -> None:
    model, (x, y) = net(), data()
    optimizer = CBLR(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    cross_entropy(model(x), y).backward()
    with pytest.raises(RuntimeError, match=r"no curvature of a parameter of shape \(5, 6\); call optimizer\.backward"):
        optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))


def test_gauss_newton_without_logits_is_refused() -> None:
    model, (x, y) = net(), data()
    optimizer = CBLR(model.parameters(), lr=0.1, curvature="gnb")
    with pytest.raises(ValueError, match=r'logits = None: curvature="gnb" draws labels.*backward\(loss, logits\)'):
        optimizer.backward(cross_entropy(model(x), y))


def test_a_decay_that_overflows_the_gradient_gives_no_nan():
    """Found by hypothesis: g + βw beyond the largest float, at a rate of 0."""
    w = torch.nn.Parameter(torch.tensor([[3.3497059e38, 1.0]]))
    optimizer = CBLR([w], lr=0.0, weight_decay=1.0, momentum=0.0, r_max=1.0, maximize=True)
    w.grad = torch.tensor([[-5.3117704e36, 0.0]])
    optimizer.state[w]["curvature"] = torch.zeros_like(w)
    optimizer.step()
    assert w.tolist() == [[pytest.approx(3.3497059e38), 1.0]]
