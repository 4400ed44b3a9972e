"""The gradient noise scale tr Σ/|G|² (McCandlish et al. 2018): the batch size at which signal and noise are equal."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from trainables.errors import Refused
from trainables.probes import Configuration, Observer, Probe, Subject
from trainables.probes.layers import ENTRIES, Entries, Layers
from trainables.settings import about
from trainables.step import Part, Step


class TwoSizes(Observer):
    """|g|² of small and of whole batches in the epoch's first steps, from which Σ and G follow."""

    def __init__(self, trial: Subject, layers: Layers, steps: int, samples: int) -> None:
        self.trial, self.layers, self.steps, self.samples = trial, layers, steps, samples
        self.left = 0

    def before_epoch(self, epoch: int) -> None:
        self.left = self.steps
        self.rows: list[Tensor] = []  # of each step: mean g² and 1/n of its small batches, then of the whole batch
        self._forget_step()

    def _forget_step(self) -> None:
        self.parts: list[Tensor] = []  # mean g² and 1/n of each small batch
        self.weights: list[Tensor] = []

    def after_part(self, part: Part) -> None:
        if not self.left:
            return
        self.weights.append(part.weights)
        if len(part.step.slices) > 1 and bool(part.weights.any()):
            self.parts.append(self._sizes(self.layers.gradients() / part.weights.sum(), part.weights))

    def before_step(self, step: Step) -> None:
        if not self.left:
            return
        weights = torch.cat(self.weights)
        parts = self.parts or self._samples(step, weights)
        self.rows.append(torch.cat([torch.stack(parts).mean(0), self._sizes(self.layers.gradients(), weights)]))
        self.left -= 1
        self._forget_step()

    def _sizes(self, g: Tensor, weights: Tensor) -> Tensor:
        """Mean g² over the net's entries, and 1/n: n samples of the batch have a weight above 0. Shape (2,)."""
        inverse = (weights.square().sum() / weights.sum().square()).double()
        return torch.stack([self.layers.means(g.square())[-1], inverse])

    def _samples(self, step: Step, weights: Tensor) -> list[Tensor]:
        """`_sizes` of single samples, the first `samples` of those that no trick has dropped."""
        losses = self.trial.losses(step, weights.nonzero().flatten()[: self.samples])
        one, sizes = torch.ones(1, device=losses.device), []
        for loss in losses:
            g = torch.autograd.grad(loss, self.layers.params, retain_graph=True, allow_unused=True)
            sizes.append(self._sizes(self.layers.flat(g), one))
        return sizes

    def after_epoch(self) -> dict[str, float]:
        small, inverse_small, whole, inverse_whole = torch.stack(self.rows).mean(0).tolist()
        self.rows = []
        images = len(self.trial.train)
        if inverse_small <= inverse_whole or images < 2:
            return {}
        unit = (small - whole) / (images * (inverse_small - inverse_whole))  # tr Σ/(N-1)
        square = whole - unit * (images * inverse_whole - 1)  # |G|²
        return {"simple": unit * (images - 1) / square} if square > 0 else {}


class NoiseScale(Probe):
    """`probe: {noise_scale: {}}` → `probe/noise_scale/simple`.

    Quantity: tr Σ/|G|², Σ the covariance of the samples' gradients and G their mean over the N training images, in
    images. From E|g_n|² = |G|² + tr Σ/n · (N-n)/(N-1) at two sizes n: the step's micro-batches against the whole batch
    (McCandlish 2018, appendix A.1, with the finite set's factor); without micro-batches, `samples` single images of it.
    Logs: a scalar; |g|² is averaged over the epoch's first `steps` steps before the ratio is taken. Nothing where the
    estimate of |G|² is not positive: the batches are too small to tell it from 0.
    Cost: with micro-batches a gather of `entries` a tensor each, under 5 % of an epoch. Without, a forward pass of
    `samples` images and as many backward passes through it, for each of the `steps`.
    """

    steps: Annotated[int, about("", "first steps of an epoch that are measured", ge=1)] = 10
    samples: Annotated[int, about("", "single images a step, where it has one micro-batch", unit="image", ge=2)] = 32
    entries: Entries = ENTRIES

    def check(self, config: Configuration) -> None:
        if config.batch_size < 2:
            raise Refused(
                "batch_size", config.batch_size, "noise_scale compares single images with batches",
                "use at least 2, or leave the probe out",
            )  # fmt: skip

    def start(self, trial: Subject) -> Observer:
        return TwoSizes(trial, Layers(trial.model, self.entries), self.steps, self.samples)
