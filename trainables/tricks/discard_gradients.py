"""Discarding the gradient's small values, which the paper's authors tried."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.optim import Optimizer

from trainables.settings import Epochs, about
from trainables.step import Step
from trainables.tricks import Trick, parameters


def smallest(g: Tensor, p: float) -> Tensor:
    """Flat indices of the ⌊p·size⌋ entries of smallest |g|."""
    count = int(p * g.numel() + 1e-9)  # 0.3 · 10 is 3, whatever its bits
    return g.abs().flatten().topk(count, largest=False, sorted=False).indices


class DiscardGradients(Trick):
    """`trick: {discard_gradients: {p: 0.3, epochs: 100}}`: the optimizer sees 0 in the p share of smallest |g|.

    Of each tensor apart, in the first `epochs`.
    """

    p: Annotated[float, about("p", "share of each tensor's entries whose gradient is set to 0", ge=0, lt=1)]
    epochs: Annotated[Epochs, about("", "first epochs in which entries are dropped", unit="epoch")]

    @torch.no_grad()
    def before_step(self, step: Step, optimizer: Optimizer) -> None:
        if step.epoch > self.epochs:
            return
        for parameter in parameters(optimizer):
            if (g := parameter.grad) is not None:
                keep = torch.ones(g.numel(), dtype=torch.bool, device=g.device)
                keep[smallest(g, self.p)] = False
                g.mul_(keep.view(g.shape))
