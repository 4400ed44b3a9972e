"""PercentDelta (Abu-El-Haija 2017): the radius is the harmonic mean of |w/g|."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers.layerwise import Batch, LayerWise
from trainables.optimizers.settings import Floor, LayerWiseSettings
from trainables.optimizers.statistics import mean_ratios
from trainables.optimizers.tensorwise import LR

FLOOR = 1e-5
WEIGHT_FLOOR = 1e-6


class PercentDelta(LayerWise):
    """R = size(w) / ‖(g + βw) / w‖₁: paper (24); the decay is this project's extension.

    Weights near zero dominate the norm, so |w| is floored at `weight_floor` (no counter: some entry always
    is small), and the mean of |(g + βw)/w|, R's reciprocal, at `floor`. Otherwise see `LayerWise`.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = LR,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        floor: float = FLOOR,
        weight_floor: float = WEIGHT_FLOOR,
        **common: Any,
    ) -> None:
        super().__init__(params, lr, momentum, weight_decay, floor=floor, weight_floor=weight_floor, **common)

    def fraction(self, batch: Batch) -> tuple[Tensor, Tensor]:
        relative = mean_ratios(batch.grads, batch.weights, batch.beta, batch.options["weight_floor"])
        return torch.ones_like(relative), relative


class PercentDeltaSettings(LayerWiseSettings):
    """`optimizer: {name: percent_delta, gamma: …}`"""

    torch_class: ClassVar[type[Optimizer]] = PercentDelta
    name: Literal["percent_delta"] = "percent_delta"
    floor: Floor = FLOOR
    weight_floor: Floor = WEIGHT_FLOOR
