"""A sharper loss, which the paper's authors tried."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from trainables.settings import Epochs, about
from trainables.step import Step
from trainables.tricks import Trick


class Sharpen(Trick):
    """`trick: {sharpen: {factor: 2, epochs: 100}}`: cross-entropy of factor × logits, at temperature 1/factor.

    In the first `epochs` `train/loss` is this loss; validation and test losses are the plain one.
    """

    factor: Annotated[float, about("", "what the logits are multiplied by", gt=0)]
    epochs: Annotated[Epochs, about("", "first epochs of the sharper loss", unit="epoch")]

    def relogit(self, step: Step, logits: Tensor) -> Tensor:
        return logits * self.factor if step.epoch <= self.epochs else logits
