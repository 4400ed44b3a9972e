"""The loss stride lr·E(g²) of a step, by layer: paper (8), figure 7."""

from __future__ import annotations

from trainables.probes import Observer, Probe, Subject
from trainables.probes.layers import ENTRIES, Averages, Entries, Layers
from trainables.step import Step


class MeanLossStride(Observer):
    """lr · E(g²) of every step, and E(g²) alone, by layer, averaged over the epoch."""

    def __init__(self, layers: Layers) -> None:
        self.layers, self.averages = layers, Averages(layers)

    def before_step(self, step: Step) -> None:
        means = self.layers.means(self.layers.gradients().square())
        self.averages.add("mean", means * step.rate)
        self.averages.add("normalised", means)

    def after_epoch(self) -> dict[str, float]:
        return self.averages.take()


class LossStride(Probe):
    """`probe: {loss_stride: {}}` → `probe/loss_stride/mean|normalised/LAYER`.

    Quantity: E(ΔL) = lr · mean g_i², the loss that one entry's step of plain SGD wins to first order (8), in loss.
    Logs: `mean`, averaged over the epoch's steps, with lr the step's rate; `normalised`, mean g_i² alone, averaged
    likewise, in (loss/weight)². Scalars.
    Cost: a gather of `entries` a tensor a step, under 5 % of an epoch.
    """

    entries: Entries = ENTRIES

    def start(self, trial: Subject) -> Observer:
        return MeanLossStride(Layers(trial.model, self.entries))
