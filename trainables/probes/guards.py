"""How often each guard of a layer-wise rule fired: steps in the epoch, by guard and tensor."""

from __future__ import annotations

from trainables.optimizers.protocols import HasGuards
from trainables.probes import Observer, Probe, Subject


class GuardCounts(Observer):
    """Reads the optimizer's counts after an epoch, and sets them to 0."""

    def __init__(self, trial: Subject) -> None:
        self.optimizer = trial.optimizer

    def after_epoch(self) -> dict[str, float]:
        if not isinstance(self.optimizer, HasGuards):
            return {}
        return {
            f"{guard}/{tensor}": float(count)
            for guard, counts in self.optimizer.guards(reset=True).items()
            for tensor, count in counts.items()
            if count
        }


class Guards(Probe):
    """`probe: {guards: {}}` → `probe/guards/GUARD/TENSOR`, where it fired. Nothing for optimizers without guards."""

    def start(self, trial: Subject) -> Observer:
        return GuardCounts(trial)
