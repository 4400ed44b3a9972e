"""Tricks that may close the gap. A plug-in is a settings class that overrides some of the hooks below.

The one training loop calls every hook of every trick, in the spec's order; a hook that is not overridden leaves
training as it was. Epochs count from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from trainables.plugins import Registry, check_hooks
from trainables.settings import Settings
from trainables.step import Step


class Trick(Settings):
    """A trick plug-in. Raises Refused where a subclass gives a hook other parameters."""

    @classmethod
    def __pydantic_init_subclass__(cls, **words: Any) -> None:
        check_hooks(cls, Trick)

    def resize(self, epoch: int, n: int, images: int) -> int:
        """The batch size of `epoch`, given the one so far and the size of the training split."""
        return n

    def rerate(self, epoch: int, rate: float) -> float:
        """The rate (lr or γ) of a step in `epoch`, given the scheduled one."""
        return rate

    def selects(self, epoch: int) -> bool:
        """Whether `weights` needs the losses of the whole batch before the gradient in `epoch`."""
        return False

    def weights(self, step: Step, losses: Tensor, weights: Tensor) -> Tensor:
        """Weights (n,) of the samples in the mean loss, given their losses (n,) and the weights so far."""
        return weights

    def relogit(self, step: Step, logits: Tensor) -> Tensor:
        """The logits (n, classes) that the step's loss is made of, given those so far."""
        return logits

    def before_step(self, step: Step, optimizer: Optimizer) -> None:
        """May change the gradients of the optimizer's parameters."""

    def after_step(self, step: Step, optimizer: Optimizer, seed: int) -> None:
        """May move the parameters on; `seed` is this trick's own in this step."""


def parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    """The optimizer's parameters, group by group."""
    return (p for group in optimizer.param_groups for p in group["params"])


tricks: Registry[type[Trick]] = Registry("trainables.tricks")
