"""Probes: what a trial measures beside loss and accuracy. A plug-in is a settings class.

`start` returns an observer, which the loop calls after every step and at the end of every epoch. Its values reach
MLflow as `probe/NAME/KEY`. Without probes the loop does nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.plugins import Registry
from trainables.settings import Settings

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Observer:
    """What a probe does during one trial. It keeps nothing across epochs, so a resumed trial measures the same."""

    def after_step(self) -> None:
        """The gradients of the step are still in `p.grad`; the parameters have moved."""

    def after_epoch(self) -> dict[str, float]:
        """What the epoch showed, by layer (a parameter's name) or quantity; then start afresh."""
        return {}


class Probe(Settings):
    """A probe plug-in."""

    def start(self, model: nn.Module, optimizer: Optimizer) -> Observer:
        """An observer of this trial."""
        raise NotImplementedError


probes: Registry[type[Probe]] = Registry("trainables.probes")
