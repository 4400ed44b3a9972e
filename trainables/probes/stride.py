"""The parameter stride E|Δw| of a step, by layer: paper (6), figures 4 and 5."""

from __future__ import annotations

from trainables.probes import Observer, Probe, Subject
from trainables.probes.layers import ENTRIES, Averages, Entries, Layers
from trainables.step import Step


class MeanStride(Observer):
    """E|Δw| of every step, by layer, averaged over the epoch."""

    def __init__(self, layers: Layers) -> None:
        self.layers, self.averages = layers, Averages(layers)
        self.steps = 0

    def before_step(self, step: Step) -> None:
        self.before = self.layers.weights()

    def after_step(self, step: Step) -> None:
        means = self.layers.means((self.layers.weights() - self.before).abs())
        self.steps += 1
        self.averages.add("mean", means)
        if step.rate > 0:
            self.averages.add("normalised", means / step.rate)

    def after_epoch(self) -> dict[str, float]:
        means, steps, self.steps = self.averages.take(), self.steps, 0
        sums = {
            key.replace("mean/", "sum/", 1): value * steps for key, value in means.items() if key.startswith("mean/")
        }
        return means | sums


class Stride(Probe):
    """`probe: {stride: {}}` → `probe/stride/mean|normalised|sum/LAYER`.

    Quantity: E|Δw|, the mean over a layer's entries of |w_after - w_before| of one optimizer step (6), in weights;
    a trick that moves the weights besides is not in it.
    Logs: `mean`, averaged over the epoch's steps; `normalised`, the same with each step divided by its own rate (lr or
    γ; steps at rate 0 are left out), in loss/weight; `sum`, Σ over the epoch's steps, the search space. Scalars.
    Cost: two gathers of `entries` a tensor a step, under 5 % of an epoch.
    """

    entries: Entries = ENTRIES

    def start(self, trial: Subject) -> Observer:
        return MeanStride(Layers(trial.model, self.entries))
