"""The README's samples of the optimizers run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

README = Path(__file__).parents[3] / "README.md"
SECTION = README.read_text().partition("### Use the optimizers alone")[2].partition("\n## ")[0]
SAMPLES = re.findall(r"^```python\n(.*?)^```$", SECTION, flags=re.DOTALL | re.MULTILINE)


def surroundings() -> dict[str, Any]:
    """What the samples take as given: a model with weights, biases and norms, batches and a loss."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    batches = [(torch.randn(8, 3, 4, 4), torch.randint(3, (8,))) for _ in range(4)]
    return {"model": model, "batches": batches, "cross_entropy": cross_entropy}


def test_there_are_samples() -> None:
    assert len(SAMPLES) == 4


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_runs_and_its_optimizer_moves_every_tensor(sample: str) -> None:
    if "timm" in sample:
        pytest.importorskip("timm", reason="the extra `timm` is not installed")
    names = surroundings()
    model, batches = names["model"], names["batches"]
    before = [p.detach().clone() for p in model.parameters()]
    exec(sample, names)
    if "batches" not in sample:  # it makes an optimizer only
        cross_entropy(model(batches[0][0]), batches[0][1]).backward()
        names["optimizer"].step()
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert all(p.isfinite().all() for p in model.parameters())
