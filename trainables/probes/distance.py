"""The mean distance to the minimum of the parabola through a step's slope and curvature: paper (28)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from trainables.probes import Observer, Probe, Subject
from trainables.probes.diagonal import DrawCount, FirstStep
from trainables.probes.layers import ENTRIES, Entries, Layers
from trainables.settings import about


class MeanDistance(FirstStep):
    """Mean distances by layer, from the diagonal of the first step."""

    def __init__(self, trial: Subject, layers: Layers, draws: int, floor: float) -> None:
        super().__init__(trial, layers, ("gnb",), draws)
        self.floor = floor

    def measure(self, g: Tensor) -> dict[str, float]:
        h, slope = self.diagonals["gnb"], g.abs()
        floored = torch.cat([part.clamp_min(self.floor * part.mean()) for part in torch.split(h, self.layers.sizes)])
        entries = torch.where(slope > 0, slope / floored, 0.0)  # a dead unit's weight has no way to go
        of_layer = self.layers.means(slope) / self.layers.means(h)
        means = {"mean": self.layers.means(entries), "ratio": of_layer}
        named = {f"{key}/{layer}": x for key, of in means.items() for layer, x in self.layers.named(of).items()}
        return {key: value for key, value in named.items() if value < float("inf")}


class Distance(Probe):
    """`probe: {distance: {}}` → `probe/distance/mean|ratio/LAYER`.

    Quantity: `mean`, E|d|, the mean over a layer's entries of |g_i| / h_ii, with 2a = h_ii in (28), in weights; 0 where
    g_i = 0. h is Gauss–Newton–Bartlett's diagonal of the batch's loss, no smaller than `floor` times its mean over the
    tensor: without a floor flat entries alone would make the mean. `ratio`, E|g| / E(h): no floor, and no outliers.
    Logs: at each epoch's first step, before it moves the weights. Scalars, where finite.
    Cost: second derivatives, at that step alone: for each draw a backward pass.
    """

    draws: DrawCount = 16
    floor: Annotated[float, about("", "least h_ii, as a share of its mean over the tensor", gt=0, le=1)] = 0.01
    entries: Entries = ENTRIES

    def start(self, trial: Subject) -> Observer:
        return MeanDistance(trial, Layers(trial.model, self.entries), self.draws, self.floor)
