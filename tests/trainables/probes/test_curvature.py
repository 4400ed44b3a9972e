"""The probe that compares curvature estimates."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.tiny import config, noise_splits, step
from trainables.probes.curvature import Comparison
from trainables.step import Part
from trainables.train import Trial


def test_it_measures_every_epoch_and_changes_nothing() -> None:
    changes = {"model": {"width": 0.02}, "batch_size": 20, "epochs": 2}
    probed = Trial(config(probe={"curvature": {"entries": 5}}, **changes), noise_splits())
    plain = Trial(config(**changes), noise_splits())
    rows = [{k: v for k, v in probed.run_epoch().items() if k.startswith("probe/")} for _ in range(2)]
    for _ in range(2):
        plain.run_epoch()
    assert all(torch.equal(a, b) for a, b in zip(probed.model.parameters(), plain.model.parameters(), strict=True))
    assert "probe/curvature/rank/hutchinson/classifier.6.weight" in rows[0]
    assert rows[0] != rows[1]
    assert {key.split("/")[2] for key in rows[0]} == {"rank", "ratio"}
    assert {key.split("/")[3] for key in rows[0]} == {"hutchinson", "gnb", "w-over-g"}
    assert not [key for key in rows[0] if "bias" in key]


def observe(net: nn.Module, logits: torch.Tensor, labels: torch.Tensor, samples: int) -> dict[str, float]:
    observer = Comparison(net, samples, entries=50)
    weights = torch.full((len(labels),), 1 / len(labels), dtype=logits.dtype)
    loss = (cross_entropy(logits, labels, reduction="none") * weights).sum()
    observer.before_backward(Part(step(1, len(labels)), loss, logits, weights))
    loss.backward()  # the graph is left whole
    return observer.after_epoch()


@pytest.mark.parametrize("estimate", ["hutchinson", "gnb"])
def test_with_many_samples_an_estimate_agrees_with_the_exact_radius(estimate: str) -> None:
    """In a linear net of one layer the Hessian is Gauss and Newton's, so both must."""
    torch.manual_seed(0)
    net, x = nn.Linear(6, 3).double(), torch.randn(40, 6).double() * torch.tensor([1.0, 2, 3, 4, 5, 6])
    found = observe(net, net(x), torch.randint(3, (40,)), samples=3000)
    assert found[f"rank/{estimate}/weight"] > 0.95
    assert found[f"ratio/{estimate}/weight"] == pytest.approx(1, abs=0.15)
    assert abs(found["ratio/w-over-g/weight"] - 1) > 0.15, "the parabola's radius is another"


def test_dead_entries_are_left_out() -> None:
    net = nn.Linear(4, 3, bias=False).double()
    x = torch.randn(10, 4).double()
    x[:, 1:] = 0
    found = observe(net, net(x), torch.randint(3, (10,)), samples=2)
    assert set(found) == {
        f"{kind}/{name}/weight" for kind in ("rank", "ratio") for name in ("hutchinson", "gnb", "w-over-g")
    }
    net = nn.Linear(1, 3, bias=False).double()
    assert observe(net, net(0 * x[:, :1]), torch.randint(3, (10,)), samples=2) == {}
