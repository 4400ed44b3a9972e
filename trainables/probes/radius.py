"""The radius that a layer-wise rule gave each tensor at the epoch's last step (paper, section 4)."""

from __future__ import annotations

from trainables.optimizers.protocols import HasRadii
from trainables.probes import Observer, Probe, Subject


class LastRadii(Observer):
    """Reads the optimizer's radii after an epoch."""

    def __init__(self, trial: Subject) -> None:
        self.optimizer = trial.optimizer

    def after_epoch(self) -> dict[str, float]:
        return dict(self.optimizer.radii()) if isinstance(self.optimizer, HasRadii) else {}


class Radius(Probe):
    """`probe: {radius: {}}` → `probe/radius/TENSOR`, in weight²/loss. Nothing for optimizers without a radius."""

    def start(self, trial: Subject) -> Observer:
        return LastRadii(trial)
