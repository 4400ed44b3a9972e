"""A compiled step is the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainables.optimizers import LAMB, LARS, MCLR, PercentDelta


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", [LARS, PercentDelta, MCLR, LAMB])
def test_a_compiled_step_gives_the_same_weights(rule: Any) -> None:
    torch._dynamo.reset()
    gen = torch.Generator().manual_seed(0)
    ends = []
    weights, grads = torch.randn(3, 6, 4, generator=gen), torch.randn(4, 3, 6, 4, generator=gen)
    for wrap in (lambda step: step, lambda step: torch.compile(step, backend="eager")):
        params = [nn.Parameter(w.clone()) for w in weights]
        step = wrap(rule(params, 1e-3).step)
        for given in grads:
            for p, g in zip(params, given, strict=True):
                p.grad = g.clone()
            step()
        ends.append(torch.stack([p.detach() for p in params]))
    torch.testing.assert_close(*ends)
    assert not torch.equal(ends[0], weights)
