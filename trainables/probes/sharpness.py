"""Sharpness: the largest eigenvalue of the loss's Hessian, the common measure of how steep a minimum is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainables.probes import Observer, Probe, Subject
from trainables.settings import about

Vector = Sequence[Tensor]  # shaped as the parameters
PASS = 500  # images a pass where the trial names no micro-batch


def dominant(product: Callable[[Vector], Vector], start: Vector, tolerance: float, iterations: int) -> float:
    """The eigenvalue of largest |λ| of a symmetric operator, by power iteration from `start`.

    Ends when v·Av of unit v moves by less than `tolerance` of itself, or after `iterations`.
    """
    vector, value = _unit(start), 0.0
    for _ in range(iterations):
        image = product(vector)
        last, value = value, _dot(vector, image)
        if abs(value - last) <= tolerance * abs(value):
            break
        vector = _unit(image)
    return value


def largest(product: Callable[[Vector], Vector], start: Vector, tolerance: float, iterations: int) -> float:
    """The largest eigenvalue λ_max: where the dominant one is negative, that of A - λI, shifted back."""
    value = dominant(product, start, tolerance, iterations)
    if value >= 0:
        return value

    def shifted(vector: Vector) -> Vector:
        return [x - value * v for x, v in zip(product(vector), vector, strict=True)]

    return value + dominant(shifted, start, tolerance, iterations)


def _dot(a: Vector, b: Vector) -> float:
    return float(torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum())


def _unit(a: Vector) -> Vector:
    norm = _dot(a, a) ** 0.5
    return [x / norm for x in a] if norm > 0 else a


class LargestEigenvalue(Observer):
    """λ_max after an epoch, over a fixed choice of training images."""

    def __init__(self, trial: Subject, images: int, tolerance: float, iterations: int) -> None:
        self.trial, self.tolerance, self.iterations = trial, tolerance, iterations
        count = min(images, len(trial.train))
        self.index = (torch.arange(count) * len(trial.train) // count).to(trial.device)
        self.size = trial.config.micro_batch or PASS
        self.params = [p for p in trial.model.parameters() if p.requires_grad]

    def after_epoch(self) -> dict[str, float]:
        draw = torch.Generator().manual_seed(0)
        start = [torch.randn(p.shape, generator=draw, dtype=p.dtype).to(p.device) for p in self.params]
        self.trial.model.eval()
        value = largest(self.hessian_product, start, self.tolerance, self.iterations)
        self.trial.model.train()
        return {"eigenvalue": value}

    def hessian_product(self, vector: Vector) -> Vector:
        """H v of the mean loss over the images, in evaluation mode."""
        total = [torch.zeros_like(v) for v in vector]
        for part in torch.split(self.index, self.size):
            images, labels = self.trial.train.take(part)
            loss = cross_entropy(self.trial.model(images), labels, reduction="sum") / len(self.index)
            grads = torch.autograd.grad(loss, self.params, create_graph=True)
            curved = torch.autograd.grad(grads, self.params, list(vector), materialize_grads=True)
            total = [sum_.add_(x) for sum_, x in zip(total, curved, strict=True)]
        return total


class Sharpness(Probe):
    """`probe: {sharpness: {}}` → `probe/sharpness/eigenvalue`.

    Quantity: λ_max of the Hessian of the mean cross-entropy over `images` training images, spread evenly over the
    split, without augmentation, in evaluation mode (no dropout, batch norm's running statistics), in loss/weight².
    By power iteration: at most `iterations`, until v·Hv moves by less than `tolerance` of itself. If the eigenvalue
    of largest |λ| is negative, a second iteration, shifted by it, finds the largest.
    Logs: after each epoch's last step. A scalar.
    Cost: second derivatives: each iteration about four training steps' passes over `images`, at every epoch's end.
    """

    images: Annotated[int, about("", "training images, at most", unit="image", ge=1)] = 500
    iterations: Annotated[int, about("", "products Hv, at most", ge=2)] = 50
    tolerance: Annotated[float, about("", "relative change that ends the iteration", gt=0, lt=1)] = 1e-3

    def start(self, trial: Subject) -> Observer:
        return LargestEigenvalue(trial, self.images, self.tolerance, self.iterations)
