"""Our optimizers through timm's door."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("timm", reason="the extra `timm` is not installed")

from timm.optim import create_optimizer_v2, list_optimizers

import trainables.optimizers.timm as registered
from trainables.optimizers import RunsBackward


@pytest.mark.parametrize("name", registered.OURS)
def test_timm_makes_each_and_it_descends(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(32, 4)
    optimizer = create_optimizer_v2(net, name, lr=1e-2, weight_decay=1e-3, momentum=0.5)
    assert type(optimizer) is registered.OURS[name]
    assert optimizer.param_groups[0]["momentum"] == 0.5
    losses = []
    for _ in range(30):
        loss = (net(x) - x[:, :1]).square().mean()
        optimizer.zero_grad()
        (optimizer.backward if isinstance(optimizer, RunsBackward) else torch.autograd.backward)(loss)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    decays = {bool(p.ndim > 1): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {True: 1e-3, False: 0.0}


def test_timms_own_are_left_alone() -> None:
    assert set(registered.OURS) <= set(list_optimizers())
    assert {"lars", "lamb"} <= set(list_optimizers())
