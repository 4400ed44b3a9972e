"""How often each guard of a layer-wise rule fired: steps in the epoch, by guard and tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.probes import Observer, Probe

if TYPE_CHECKING:
    from trainables.train import Trial


class GuardCounts(Observer):
    def __init__(self, trial: Trial) -> None:
        self.names = {parameter: name for name, parameter in trial.model.named_parameters()}
        self.guards = getattr(trial.optimizer, "guards", None)

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

    def start(self, trial: Trial) -> Observer:
        return GuardCounts(trial)
