"""LARS (You, Gitman, Ginsburg 2017): the radius is the ratio of two Euclidean norms."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers.layerwise import Batch, LayerWise
from trainables.optimizers.settings import LayerWiseSettings


class LARS(LayerWise):
    """R = ‖w‖₂ / (‖g‖₂ + β‖w‖₂): paper (23). Arguments and errors: see `LayerWise`.

    With β = 0 and no momentum a step's relative length ‖Δw‖/‖w‖ is γ.
    """

    def fraction(self, batch: Batch) -> tuple[Tensor, Tensor]:
        w, g = batch.weight_norms, batch.grad_norms
        return w, g + batch.beta * w if batch.beta else g


class LARSSettings(LayerWiseSettings):
    """`optimizer: {name: lars, gamma: …}`"""

    torch_class: ClassVar[type[Optimizer]] = LARS
    name: Literal["lars"] = "lars"
