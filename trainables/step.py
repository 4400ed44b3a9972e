"""What the training loop hands to tricks and probes: a step, and the parts it is taken in, each a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from trainables.data.batches import Draws


@dataclass(frozen=True, eq=False)
class Step:
    """A step of training, stated in full before it is taken.

    Arguments:
        epoch: the epoch it belongs to, counted from 1.
        number: its place in the epoch, counted from 0.
        rate: lr or γ, by the schedule and the tricks, in the optimizer's own unit.
        images: indices (n,) into the training split, on the trial's device.
        draws: the augmentation of each image; None without augmentation.
        micro_batch: images of a forward pass, at most.
    """

    epoch: int
    number: int
    rate: float
    images: Tensor
    draws: Draws | None
    micro_batch: int

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The slice of `images` that each part takes: consecutive, `micro_batch` long but for the last."""
        n = len(self.images)
        return tuple(slice(start, min(start + self.micro_batch, n)) for start in range(0, n, self.micro_batch))


@dataclass(frozen=True, eq=False)
class Part:
    """One micro-batch of a step, after its forward pass.

    Arguments:
        step: the step it is part of.
        loss: its share of the step's loss, the sum over its samples of weight × loss: a scalar with its graph.
        logits: (n, classes) with their graph, as the tricks have changed them.
        weights: (n,), what each sample weighs in the step's loss; over the whole step they sum to 1.
    """

    step: Step
    loss: Tensor
    logits: Tensor
    weights: Tensor
