"""Tricks that may close the gap. A plug-in is a settings class that overrides some of the hooks below.

The one training loop calls every hook of every trick, in the spec's order; a hook that is not overridden leaves
training as it was. Epochs count from 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.plugins import Registry
from trainables.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class Trick(Settings):
    """A trick plug-in."""

    def resize(self, epoch: int, n: int, images: int) -> int:  # noqa: ARG002
        """The batch size of `epoch`, given the one so far and the size of the training split."""
        return n

    def rerate(self, epoch: int, rate: float) -> float:  # noqa: ARG002
        """The rate (lr or γ) of a step in `epoch`, given the scheduled one."""
        return rate

    def selects(self, epoch: int) -> bool:  # noqa: ARG002
        """Whether `weights` needs the losses of the whole batch before the gradient in `epoch`."""
        return False

    def weights(self, losses: Tensor, weights: Tensor) -> Tensor:  # noqa: ARG002
        """Weights (n,) of the samples in the mean loss, given their losses (n,) and the weights so far."""
        return weights

    def relogit(self, epoch: int, logits: Tensor) -> Tensor:  # noqa: ARG002
        """The logits (n, classes) that the training loss of `epoch` is made of, given those so far."""
        return logits

    def before_step(self, epoch: int, optimizer: Optimizer) -> None:
        """May change the gradients of the optimizer's parameters."""

    def after_step(self, epoch: int, optimizer: Optimizer, seed: int) -> None:
        """May move the parameters on; `seed` is this trick's own in this step."""


tricks: Registry[type[Trick]] = Registry("trainables.tricks")
