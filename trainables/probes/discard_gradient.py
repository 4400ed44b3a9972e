"""E|g| against the share of samples discarded: figure 9, with the control that the paper lacks."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.probes import Observer, Probe, Subject
from trainables.probes.layers import ENTRIES, Entries, Layers
from trainables.step import Step

SHARES = range(0, 100, 10)  # percent discarded
PASS = 500  # images a pass where the trial names no micro-batch


class Discarding(Observer):
    """Measures the trial's first step, before the parameters move."""

    def __init__(self, trial: Subject, layers: Layers) -> None:
        self.trial, self.layers = trial, layers
        self.size = trial.config.micro_batch or PASS
        self.measuring = False
        self.values: dict[str, float] = {}

    def before_epoch(self, epoch: int) -> None:
        self.measuring = epoch == 1

    def before_step(self, step: Step) -> None:
        if not self.measuring:
            return
        self.measuring = False
        rows = torch.arange(len(step.images))
        with torch.no_grad():
            losses = torch.cat([self.trial.losses(step, part) for part in torch.split(rows, self.size)])
        self._measure(step, "small", losses.argsort(stable=True).cpu())
        control = torch.randperm(len(rows), generator=self.trial.generator("discard_gradient"))
        self._measure(step, "random", control)

    def _measure(self, step: Step, name: str, order: Tensor) -> None:
        """Drops from the front of `order` (n,); the gradient's sum grows from its end, so each image passes once."""
        ends = [int(share * len(order) / 100 + 1e-9) for share in SHARES]
        total, last = torch.zeros(()), len(order)
        for share, first in reversed(list(zip(SHARES, ends, strict=True))):
            for part in torch.split(order[first:last], self.size):
                total = total + self._gradient(step, part)
            last = first
            means = self.layers.named(self.layers.means((total / (len(order) - first)).abs()))
            self.values |= {f"{name}/{layer}/{share}": value for layer, value in means.items()}

    def _gradient(self, step: Step, rows: Tensor) -> Tensor:
        """Sum of the gradients (k,) of the batch's images at `rows`."""
        if not len(rows):
            return torch.zeros(())
        loss = self.trial.losses(step, rows).sum()
        return self.layers.flat(torch.autograd.grad(loss, self.layers.params, allow_unused=True))

    def after_epoch(self) -> dict[str, float]:
        values, self.values = self.values, {}
        return values


class DiscardGradient(Probe):
    """`probe: {discard_gradient: {}}` → `probe/discard_gradient/small|random/LAYER/P`, P = 0, 10 … 90.

    Quantity: E|g| of the mean over the samples that stay when P % of the batch are dropped, in loss/weight: `small`
    drops those of smallest loss (paper, section 3.1), `random` as many at random: a smaller batch has a larger E|g|.
    Logs: at the trial's first step, with epoch 1 only, before it moves the weights. Scalars.
    Cost: at that step a forward and two forward and backward passes over the batch, in micro-batches: three steps'.
    Under dropout the masks are other than the step's.
    """

    entries: Entries = ENTRIES

    def start(self, trial: Subject) -> Observer:
        return Discarding(trial, Layers(trial.model, self.entries))
