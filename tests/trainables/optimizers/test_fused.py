"""The kernels and the plain path they stand in for are one rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainables.optimizers import LAMB, LARS, fused

SHAPES = [(40, 30), (7, 3, 3, 3), (50,)]


def run(
    make: Callable[[list[nn.Parameter]], Any],
    enabled: bool,
    monkeypatch: pytest.MonkeyPatch,
    layout: torch.memory_format,
) -> list[Tensor]:
    monkeypatch.setattr(fused, "ENABLED", enabled)
    gen = torch.Generator().manual_seed(0)

    def drawn(shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(shape, generator=gen)
        return x.to(memory_format=layout) if x.ndim == 4 else x

    params = [nn.Parameter(drawn(s)) for s in SHAPES]
    optimizer = make(params)
    for _ in range(20):
        for p in params:
            p.grad = drawn(tuple(p.shape))
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.skipif(not fused.ENABLED, reason="this torch has no such kernels")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("rule", [LARS, LAMB])
def test_kernel_and_plain_path_agree(
    rule: Any, beta: float, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("move", "adam"):
        kernel = getattr(fused, name)
        monkeypatch.setattr(fused, name, lambda *args, kernel=kernel: (calls.append(1), kernel(*args))[1])
    quick, plain = (run(lambda p: rule(p, 0.01, weight_decay=beta), on, monkeypatch, layout) for on in (True, False))
    assert len(calls) == 20 * len(SHAPES)
    for a, b in zip(quick, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_lamb_turns_from_one_huge_gradient_to_its_opposite() -> None:
    """The kernel's own difference of gradient and mean would overflow."""
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = LAMB([p], 0.1)
    for g in (3e38, -3e38, 3e38, -3e38):
        p.grad = torch.full((2, 2), g)
        optimizer.step()
    assert p.isfinite().all()
    assert all(state["mean"].isfinite().all() for state in optimizer.state.values())


def test_a_kernel_is_used_only_where_it_is_right() -> None:
    w, v, g = (torch.ones(4, 3, 2, 2) for _ in range(3))
    assert fused.fits(w, v, g, rate=0.1) is fused.ENABLED
    other = torch.ones(4, 3, 2, 2).to(memory_format=torch.channels_last)
    for wrong in [(other, v, g), (w, other, g), (w, v, other), (w.double(), v, g), (w, v, g.bfloat16())]:
        assert not fused.fits(*wrong, rate=0.1)
    for rate, reach in [
        (0.0, 1.0),
        (1e-9, 1.0),
        (float("nan"), 1.0),
        (float("inf"), 1.0),
        (0.1, 1e31),
        (0.1, torch.nan),
    ]:
        assert not fused.fits(w, v, g, rate=rate, reach=reach)
