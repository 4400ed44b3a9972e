"""How good are the estimates of the radius of curvature? Each against the exact one, tensor by tensor.

The exact Hessian diagonal costs a pass an entry, so it is taken at a fixed random choice of entries. In a net of
ReLU and max pooling the loss is, in any one weight, a smooth function of logits that are linear nearly everywhere, so
there the diagonal is the Gauss–Newton one, and ≥ 0; elsewhere the two differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from trainables.optimizers import hessian_diagonal
from trainables.probes import Observer, Probe, Subject
from trainables.settings import about
from trainables.step import Part

Radii = list[Tensor]  # of each tensor's chosen entries


class Comparison(Observer):
    """Compares at the epoch's first step, before the parameters move, on its first micro-batch."""

    def __init__(self, model: nn.Module, samples: int, entries: int) -> None:
        self.named = {name: p for name, p in model.named_parameters() if p.ndim > 1}
        self.samples = samples
        choose = torch.Generator().manual_seed(0)
        self.chosen = [torch.randperm(p.numel(), generator=choose)[:entries].to(p.device) for p in self.named.values()]
        self.values: dict[str, float] = {}  # this epoch's

    def before_backward(self, part: Part) -> None:
        if self.values:
            return
        params = list(self.named.values())
        grads = torch.autograd.grad(part.loss, params, create_graph=True)
        slopes = self._pick([g.detach() for g in grads])
        truth = hessian_diagonal.exact(grads, params, self.chosen)
        generator = torch.Generator(part.loss.device).manual_seed(0)

        def hutchinson() -> list[Tensor]:
            signs = hessian_diagonal.random_signs(params, generator)
            return hessian_diagonal.hutchinson(grads, params, signs, retain=True)

        def gnb() -> list[Tensor]:
            weights = part.weights / part.weights.sum()
            return hessian_diagonal.gauss_newton_bartlett(part.logits, weights, params, generator)

        self._compare("hutchinson", _radii(slopes, self._mean(hutchinson)), _radii(slopes, truth), slopes)
        self._compare("gnb", _radii(slopes, self._mean(gnb)), _radii(slopes, truth), slopes)
        parabola = [(w / g).abs() for w, g in zip(self._pick([p.detach() for p in params]), slopes, strict=True)]
        self._compare("w-over-g", parabola, _radii(slopes, truth), slopes)

    def _pick(self, tensors: list[Tensor]) -> list[Tensor]:
        return [x.flatten()[at] for x, at in zip(tensors, self.chosen, strict=True)]

    def _mean(self, draw: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Of `samples` estimates, at the chosen entries: signed, so that |·| comes last."""
        draws = [self._pick([h.detach() for h in draw()]) for _ in range(self.samples)]
        return [torch.stack(each).mean(0) for each in zip(*draws, strict=True)]

    def _compare(self, estimate: str, radii: Radii, exact: Radii, slopes: list[Tensor]) -> None:
        for name, r, truth, g in zip(self.named, radii, exact, slopes, strict=True):
            live = g != 0  # a dead unit's weights have no curvature to find
            known, guess = truth[live].double(), r[live].double()
            if len(known) < 3:
                continue
            statistics = {"rank": float(spearmanr(guess.cpu(), known.cpu()).statistic),
                      "ratio": float(guess.median() / known.median())}  # fmt: skip
            self.values |= {f"{kind}/{estimate}/{name}": x for kind, x in statistics.items() if math.isfinite(x)}

    def after_epoch(self) -> dict[str, float]:
        values, self.values = self.values, {}
        return values


def _radii(slopes: list[Tensor], curvatures: list[Tensor]) -> Radii:
    """(1 + g²)^{3/2} / |h|: paper (9); infinite where h = 0."""
    return [(1 + g * g) ** 1.5 / h.abs() for g, h in zip(slopes, curvatures, strict=True)]


class Curvature(Probe):
    """`probe: {curvature: {}}` → `probe/curvature/rank|ratio/ESTIMATE/TENSOR`, of ESTIMATE's radii to the exact.

    ESTIMATE is hutchinson, gnb, or w-over-g, the paper's |w/g| (17). `rank` is Spearman's correlation over the
    entries with g ≠ 0, `ratio` that of the medians. Tensors of two or more dimensions; not what is not finite.
    """

    samples: Annotated[int, about("", "random vectors, or draws of labels, averaged in an estimate", ge=1)] = 1
    entries: Annotated[int, about("", "entries a tensor that are compared, at most", ge=3)] = 128

    def start(self, trial: Subject) -> Observer:
        return Comparison(trial.model, self.samples, self.entries)
