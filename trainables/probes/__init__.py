"""Probes: what a trial measures beside loss and accuracy. A plug-in is a settings class.

`start` returns an observer, which the loop calls after every step and at the end of every epoch. Its values reach
MLflow as `probe/NAME/KEY`. Without probes the loop does nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.plugins import Registry
from trainables.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Observer:
    """What a probe does during one trial. It keeps nothing across epochs, so a resumed trial measures the same."""

    def before_backward(self, loss: Tensor, logits: Tensor, weights: Tensor) -> None:
        """The graph of a step's loss, or of a micro-batch's share of it, before its backward pass: leave it whole.

        `logits` (n, classes) and the samples' `weights` (n,) are what it was made of.
        """

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
