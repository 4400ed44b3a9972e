"""Wrappers that make, split or refill an optimizer's groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor, distributed, nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.optim import Optimizer

from trainables.optimizers import LAMB, LARS, MCLR, PercentDelta

RULES: dict[str, Any] = {"lars": LARS, "percent_delta": PercentDelta, "mclr": MCLR, "lamb": LAMB}


def net() -> nn.Sequential:
    """Of five tensors, so that of two processes one gets a weight alone, and one of many gets a bias alone."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), nn.LayerNorm(3))


def trained(make: Any) -> list[Tensor]:
    model = net()
    optimizer = make(model)
    gen = torch.Generator().manual_seed(1)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 6, generator=gen)).square().mul(torch.tensor([1.0, 2.0, 3.0])).mean().backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()]


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Weights, and biases of which nothing is stated."""
    params = list(model.parameters())
    return [{"params": [p for p in params if p.ndim > 1]}, {"params": [p for p in params if p.ndim <= 1]}]


def sharded(rank: int, processes: int, file: str) -> None:
    """One process of several that share an optimizer's state: the weights are those of one process alone."""
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=processes)
    try:
        for rule in RULES.values():
            for split in (lambda model: list(model.parameters()), groups):
                whole = trained(lambda model, split=split, rule=rule: rule(split(model), lr=0.02))
                shared = trained(
                    lambda model, split=split, rule=rule: ZeroRedundancyOptimizer(split(model), rule, lr=0.02)
                )
                assert all(torch.equal(a, b) for a, b in zip(whole, shared, strict=True)), rule
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("processes", [1, 3])
def test_a_state_shared_out_among_processes_gives_the_same_weights(processes: int, tmp_path: Path) -> None:
    file = str(tmp_path / "rendezvous")
    if processes == 1:
        sharded(0, 1, file)
    else:
        torch.multiprocessing.spawn(sharded, (processes, file), nprocs=processes)


class Sharpness(Optimizer):
    """Sharpness-aware minimisation in its usual public form: a wrapper that hands its own groups on."""

    def __init__(self, params: Any, base: Any, rho: float = 0.05, **options: Any) -> None:
        super().__init__(params, {"rho": rho, **options})
        self.base = base(self.param_groups, **options)
        self.param_groups = self.base.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.base.step(closure)


@pytest.mark.parametrize("rule", RULES.values())
def test_a_wrapper_that_hands_its_groups_on_changes_nothing(rule: Any) -> None:
    plain = trained(lambda model: rule(groups(model), lr=0.02, weight_decay=0.1))
    wrapped = trained(lambda model: Sharpness(groups(model), rule, lr=0.02, weight_decay=0.1))
    assert all(torch.equal(a, b) for a, b in zip(plain, wrapped, strict=True))
