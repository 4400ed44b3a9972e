"""Noise on the weights, to leave a sharp minimum (paper, section 5.2, the fourth class of remedies)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch.optim import Optimizer

from trainables.settings import Epochs, about
from trainables.step import Step
from trainables.tricks import Trick, parameters


class Noise(Trick):
    """`trick: {noise: {sigma: 0.01, epochs: 10}}`: after each step, w ← w + N(0, (σ·rms(w))²).

    On tensors of two dimensions and more, rms(w) of each tensor; the draws depend on (seed, epoch, step) alone.
    """

    sigma: Annotated[float, about("σ", "noise of a step, relative to the tensor's root mean square", gt=0)]
    epochs: Annotated[Epochs, about("", "first epochs in which there is noise", unit="epoch")]

    @torch.no_grad()
    def after_step(self, step: Step, optimizer: Optimizer, seed: int) -> None:
        if step.epoch > self.epochs:
            return
        generators: dict[torch.device, torch.Generator] = {}
        for p in parameters(optimizer):
            if p.ndim > 1:
                draw = generators.setdefault(p.device, torch.Generator(p.device).manual_seed(seed))
                noise = torch.randn(p.shape, generator=draw, dtype=p.dtype, device=p.device)
                p.addcmul_(noise, self.sigma * p.square().mean().sqrt())
