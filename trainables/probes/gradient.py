"""The mean gradient E|g| of a step, by layer: paper (4)."""

from __future__ import annotations

from trainables.probes import Observer, Probe, Subject
from trainables.probes.layers import ENTRIES, Averages, Entries, Layers
from trainables.step import Step


class MeanGradient(Observer):
    """E|g| of every step, by layer, averaged over the epoch."""

    def __init__(self, layers: Layers) -> None:
        self.layers, self.averages = layers, Averages(layers)
        self.fresh = False  # whether the trial's first step is still to come

    def before_epoch(self, epoch: int) -> None:
        self.fresh = epoch == 1

    def before_step(self, step: Step) -> None:
        means = self.layers.means(self.layers.gradients().abs())
        self.averages.add("mean", means)
        if self.fresh:
            self.averages.add("first", means)
            self.fresh = False

    def after_epoch(self) -> dict[str, float]:
        return self.averages.take()


class Gradient(Probe):
    """`probe: {gradient: {}}` → `probe/gradient/first|mean/LAYER`.

    Quantity: E|g|, the mean over a layer's entries of |g_i|, g = dL/dw of the batch's mean loss (4), in loss/weight.
    Logs: `mean`, averaged over the epoch's steps; `first`, of the trial's first step, with epoch 1 only. Scalars.
    Cost: a gather of `entries` a tensor a step, under 5 % of an epoch.
    """

    entries: Entries = ENTRIES

    def start(self, trial: Subject) -> Observer:
        return MeanGradient(Layers(trial.model, self.entries))
