"""Discarding small-loss samples (paper, section 3.1)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from trainables.settings import Epochs, about
from trainables.step import Step
from trainables.tricks import Trick


def discard(losses: Tensor, p: float) -> Tensor:
    """True (n,) for the samples that stay when the ⌊p·n⌋ of lowest loss are dropped; ties by position."""
    dropped = int(p * len(losses) + 1e-9)  # 0.3 · 10 is 3, whatever its bits
    keep = torch.ones_like(losses, dtype=torch.bool)
    keep[torch.argsort(losses, stable=True)[:dropped]] = False
    return keep


class Discard(Trick):
    """`trick: {discard: {p: 0.3, epochs: 100}}`: the gradient is the mean over the kept samples."""

    p: Annotated[float, about("p", "share of the batch dropped", source="paper 3.1", ge=0, lt=1)]
    epochs: Annotated[Epochs, about("E_d", "first epochs in which samples are dropped", unit="epoch")]

    def selects(self, epoch: int) -> bool:
        return self.p > 0 and epoch <= self.epochs

    def weights(self, step: Step, losses: Tensor, weights: Tensor) -> Tensor:
        return weights * discard(losses, self.p)
