"""The radius that a layer-wise rule gave each tensor at the epoch's last step (paper, section 4)."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from trainables.probes import Observer, Probe


class LastRadii(Observer):
    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.names = {parameter: name for name, parameter in model.named_parameters()}
        self.radii = getattr(optimizer, "radii", None)

    def after_epoch(self) -> dict[str, float]:
        if self.radii is None:
            return {}
        return {self.names[parameter]: radius for parameter, radius in self.radii()}


class Radius(Probe):
    """`probe: {radius: {}}` → `probe/radius/TENSOR`, in weight²/loss. Nothing for optimizers without a radius."""

    def start(self, model: nn.Module, optimizer: Optimizer) -> Observer:
        return LastRadii(model, optimizer)
