"""A trial in float64 on a net so small that brute force is cheap, and brute force."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tests.tiny import config, noise_splits
from trainables.train import Trial
from trainables.tree import merge


def smooth_net() -> nn.Module:
    """Twice differentiable, so that second derivatives are no matter of luck."""
    return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))


class Double(Trial):
    """A trial whose net is `smooth_net`, in float64, and what brute force needs of it."""

    def __init__(self, train: int = 40, **changes: Any) -> None:
        plain = {"data": {"augment": False}, "optimizer": {"momentum": 0.0, "nesterov": False}}
        with torch.random.fork_rng():
            torch.manual_seed(3)
            net = smooth_net().double()
        super().__init__(config(**merge(plain, changes)), noise_splits(train), net)

    def order(self, epoch: int = 1) -> Tensor:
        """The images' order in `epoch`."""
        return torch.randperm(len(self.train), generator=self.generator("order", epoch))

    def named(self) -> dict[str, nn.Parameter]:
        return dict(self.model.named_parameters())

    def gradients(self, index: Tensor) -> dict[str, Tensor]:
        """Per-sample gradients by a loop: {parameter: (n, …)}."""
        rows = []
        for i in index.tolist():
            images, labels = self.train.take(torch.tensor([i]))
            loss = cross_entropy(self.model(images), labels)
            rows.append(torch.autograd.grad(loss, list(self.named().values())))
        return {name: torch.stack(each) for name, each in zip(self.named(), zip(*rows, strict=True), strict=True)}


def measured(trial: Trial, name: str) -> dict[str, float]:
    """A further epoch's values of a probe, by the key that the probe gave them."""
    start = f"probe/{name}/"
    return {key.removeprefix(start): value for key, value in trial.run_epoch().items() if key.startswith(start)}
