"""How often each guard of a layer-wise rule fired: steps in the epoch, by guard and tensor."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from trainables.probes import Observer, Probe


class GuardCounts(Observer):
    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.names = {parameter: name for name, parameter in model.named_parameters()}
        self.guards = getattr(optimizer, "guards", None)

    def after_epoch(self) -> dict[str, float]:
        if self.guards is None:
            return {}
        return {
            f"{guard}/{self.names[parameter]}": float(count)
            for guard, counts in self.guards(reset=True).items()
            for parameter, count in counts.items()
            if count
        }


class Guards(Probe):
    """`probe: {guards: {}}` → `probe/guards/GUARD/TENSOR`, where it fired. Nothing for optimizers without guards."""

    def start(self, model: nn.Module, optimizer: Optimizer) -> Observer:
        return GuardCounts(model, optimizer)
