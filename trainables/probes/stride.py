"""The parameter stride E|Δw| of a step, by layer: paper (6), figures 4 and 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.probes import Observer, Probe
from trainables.probes.layers import ENTRIES, Averages, Entries, Layers

if TYPE_CHECKING:
    from trainables.train import Trial


class MeanStride(Observer):
    def __init__(self, trial: Trial, layers: Layers) -> None:
        self.trial, self.layers, self.averages = trial, layers, Averages(layers)
        self.steps = 0

    def before_step(self) -> None:
        self.before = self.layers.weights()

    def after_step(self) -> None:
        means = self.layers.means((self.layers.weights() - self.before).abs())
        self.steps += 1
        self.averages.add("mean", means)
        if self.trial.rate > 0:
            self.averages.add("normalised", means / self.trial.rate)

    def after_epoch(self) -> dict[str, float]:
        found, steps, self.steps = self.averages.take(), self.steps, 0
        sums = {
            key.replace("mean/", "sum/", 1): value * steps for key, value in found.items() if key.startswith("mean/")
        }
        return found | sums


class Stride(Probe):
    """`probe: {stride: {}}` → `probe/stride/mean|normalised|sum/LAYER`.

    Quantity: E|Δw|, the mean over a layer's entries of |w_after - w_before| of one optimizer step (6), in weights;
    a trick that moves the weights besides is not in it.
    Logs: `mean`, averaged over the epoch's steps; `normalised`, the same with each step divided by its own rate (lr or
    γ; steps at rate 0 are left out), in loss/weight; `sum`, Σ over the epoch's steps, the search space. Scalars.
    Cost: two gathers of `entries` a tensor a step, under 5 % of an epoch.
    """

    entries: Entries = ENTRIES

    def start(self, trial: Trial) -> Observer:
        return MeanStride(trial, Layers(trial.model, self.entries))
