"""The loss stride lr·E(g²) of a step, by layer: paper (8), figure 7."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.probes import Observer, Probe
from trainables.probes.layers import ENTRIES, Averages, Entries, Layers

if TYPE_CHECKING:
    from trainables.train import Trial


class MeanLossStride(Observer):
    def __init__(self, trial: Trial, layers: Layers) -> None:
        self.trial, self.layers, self.averages = trial, layers, Averages(layers)

    def before_step(self) -> None:
        means = self.layers.means(self.layers.gradients().square())
        self.averages.add("mean", means * self.trial.rate)
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

    def start(self, trial: Trial) -> Observer:
        return MeanLossStride(trial, Layers(trial.model, self.entries))
