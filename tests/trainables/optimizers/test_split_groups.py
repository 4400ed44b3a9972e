"""States of version 0.1.0, which had two groups for each one given, load and continue with the same bits."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta

SHAPES = [(3,), (4, 3), (), (2, 2, 2), (5,), (3, 4)]
OPTIMIZERS = {
    "lars": lambda p: LARS(p, 0.013, weight_decay=0.1, excluded_lr=0.037),
    "percent_delta": lambda p: PercentDelta(p, 0.013, excluded_lr=0.037),
    "mclr": lambda p: MCLR(p, 0.013, excluded_lr=0.037),
    "cblr": lambda p: CBLR(p, 0.013, excluded_lr=0.037, seed=3),
    "lamb": lambda p: LAMB(p, 0.013, weight_decay=0.1),
}
NEW = ("lr_at_construction", "lr_reaches_excluded", "weight_decay_reaches_excluded")


def parameters(seed: int = 0) -> list[nn.Parameter]:
    gen = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=gen)) for s in SHAPES]


def train(params: list[nn.Parameter], optimizer: Any, steps: range, schedule: bool) -> None:
    for t in steps:
        for group in optimizer.param_groups:
            if schedule:
                group["lr"] = group["initial_lr"] * (1 / (1 + t))
        gen = torch.Generator().manual_seed(100 + t)
        for p in params:
            p.grad = torch.randn(p.shape, generator=gen)
            if isinstance(optimizer, CBLR):
                optimizer.state[p]["curvature"] = torch.ones_like(p)
        optimizer.step()


def old_form(state: dict[str, Any], shapes: list[list[tuple[int, ...]]], factor: float) -> dict[str, Any]:
    """`state` as version 0.1.0 wrote it: in each group the wide tensors, then the thin ones in a group of their own.

    `factor` is the schedule's at the last step, by which the thin groups' rate was `excluded_lr`.
    """
    groups, states = [], {}
    for group, of_group in zip(state["param_groups"], shapes, strict=True):
        for thin in (False, True):
            ids = [i for i, shape in zip(group["params"], of_group, strict=True) if (len(shape) <= 1) is thin]
            if not ids:
                continue
            half = {key: value for key, value in group.items() if key not in NEW}
            half |= {"excluded": thin, "params": list(range(len(states), len(states) + len(ids)))}
            states |= {len(states) + k: state["state"][i] for k, i in enumerate(ids)}
            if thin:
                first = group.get("excluded_lr", group["lr"] / factor)
                half |= {"weight_decay": 0.0, "lr": first * factor}
                half |= {"initial_lr": first} if "initial_lr" in group else {}
            groups.append(half)
    return {"state": states, "param_groups": groups}


@pytest.mark.parametrize("schedule", [False, True])
@pytest.mark.parametrize("given", ["one group", "two groups"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_old_state_continues_with_the_same_bits(name: str, given: str, schedule: bool) -> None:
    def build(params: list[nn.Parameter]) -> Any:
        groups: list[Any] = params if given == "one group" else [{"params": params[:3]}, {"params": params[3:]}]
        return OPTIMIZERS[name](groups)

    params = parameters()
    optimizer = build(params)
    for group in optimizer.param_groups if schedule else ():
        group["initial_lr"] = group["lr"]
    train(params, optimizer, range(3), schedule)
    shapes = [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups]
    state = copy.deepcopy(old_form(optimizer.state_dict(), shapes, 1 / 3 if schedule else 1.0))
    assert len(state["param_groups"]) == 2 * len(optimizer.param_groups)
    kept = copy.deepcopy(state)

    others = [nn.Parameter(p.detach().clone()) for p in params]
    continued = build(others)
    continued.load_state_dict(state)
    assert repr(state) == repr(kept), "a loaded state is left alone"
    assert len(continued.param_groups) == len(optimizer.param_groups)
    train(params, optimizer, range(3, 6), schedule)
    train(others, continued, range(3, 6), schedule)
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))
    assert continued.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_names_of_an_old_state_are_joined_in_the_parameters_order() -> None:
    params = parameters()
    optimizer = LARS([(f"p{i}", p) for i, p in enumerate(params)], 0.1)
    train(params, optimizer, range(1), False)
    state = old_form(optimizer.state_dict(), [SHAPES], 1.0)
    state["param_groups"][0]["param_names"] = ["p1", "p3", "p5"]
    state["param_groups"][1]["param_names"] = ["p0", "p2", "p4"]
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["param_names"] == ["p0", "p1", "p2", "p3", "p4", "p5"]


def test_a_group_of_biases_of_an_old_state_goes_on_at_its_old_rate() -> None:
    params = parameters()
    optimizer = LARS([{"params": [params[1]]}, {"params": [params[0]], "lr": 0.5}], 0.1, excluded_lr=0.02)
    train(params[:2], optimizer, range(1), False)
    state = old_form(optimizer.state_dict(), [[SHAPES[1]], [SHAPES[0]]], 1.0)
    optimizer.load_state_dict(state)
    assert optimizer.excluded_rate(optimizer.param_groups[1]) == 0.02
    optimizer.param_groups[1]["lr"] = 0.01
    assert optimizer.excluded_rate(optimizer.param_groups[1]) == 0.01


def test_an_old_state_of_other_tensors_is_refused() -> None:
    params = parameters()
    optimizer = LARS(params, 0.1)
    train(params, optimizer, range(1), False)
    state = old_form(optimizer.state_dict(), [SHAPES], 1.0)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        LARS(params[:4], 0.1).load_state_dict(state)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        LARS([*params, nn.Parameter(torch.ones(2, 2))], 0.1).load_state_dict(state)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        LARS([{"params": params[:4]}, {"params": params[4:5]}, {"params": params[5:]}], 0.1).load_state_dict(state)


def test_a_pickled_optimizer_of_an_older_version_steps() -> None:
    """Its groups stay two, and the second moves at its own `lr`."""
    params = parameters()
    optimizer = LARS([{"params": [p for p in params if p.ndim > 1]}, {"params": [p for p in params if p.ndim <= 1]}])
    for excluded, group in zip((False, True), optimizer.param_groups, strict=True):
        for key in (*NEW, "maximize"):
            del group[key]
        group |= {"excluded": excluded, "lr": 0.25}
    del optimizer.defaults["maximize"]
    copied = pickle.loads(pickle.dumps(optimizer))
    bias = copied.param_groups[1]["params"][0]
    before, bias.grad = bias.detach().clone(), torch.ones(3)
    copied.step()
    torch.testing.assert_close(before - bias, 0.25 * torch.ones(3))
