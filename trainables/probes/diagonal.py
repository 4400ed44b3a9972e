"""The Hessian's diagonal at an epoch's first step, estimated for the probes that draw on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from trainables.optimizers import curvature
from trainables.probes import Observer, Subject
from trainables.probes.layers import Layers
from trainables.settings import about
from trainables.step import Part, Step

Estimate = Literal["gnb", "hutchinson"]
DrawCount = Annotated[
    int, about("", "random draws that an estimate takes at least, spread over the step's micro-batches", ge=1)
]


class FirstStep(Observer):
    """Sums the estimates h (k,) of each part's loss; a subclass says what it makes of them.

    One draw's h is about χ² with one degree of freedom times the truth, so medians and means of 1/h want several; each
    part's is another, for the parts' diagonals add up.
    """

    def __init__(self, trial: Subject, layers: Layers, estimates: Sequence[Estimate], draws: int) -> None:
        self.trial, self.layers, self.estimates, self.draws = trial, layers, estimates, draws
        self.measuring = False
        self.values: dict[str, float] = {}

    def before_epoch(self, epoch: int) -> None:
        self.measuring = True
        self.diagonals: dict[str, Tensor] = {}
        seed = self.trial.generator("diagonal", epoch).initial_seed()
        self.generator = torch.Generator(self.trial.device).manual_seed(seed)

    def before_backward(self, part: Part) -> None:
        if not self.measuring:
            return
        params, draws = self.layers.params, -(-self.draws // len(part.step.rows))
        if "gnb" in self.estimates:
            for _ in range(draws):
                diagonal = curvature.gauss_newton_bartlett(part.logits, part.weights, params, self.generator)
                self._add("gnb", diagonal, draws)
        if "hutchinson" in self.estimates:
            grads = torch.autograd.grad(part.loss, params, create_graph=True, allow_unused=True)
            for _ in range(draws):
                signs = curvature.random_signs(params, self.generator)
                self._add("hutchinson", curvature.hutchinson(grads, params, signs, retain=True), draws)

    def _add(self, estimate: Estimate, diagonal: list[Tensor], draws: int) -> None:
        self.diagonals[estimate] = self.diagonals.get(estimate, 0) + self.layers.flat(diagonal) / draws

    def before_step(self, step: Step) -> None:
        if self.measuring:
            self.measuring = False
            self.values = self.measure(self.layers.gradients())
            self.diagonals = {}

    def measure(self, g: Tensor) -> dict[str, float]:
        """What to log, from the batch's g (k,) and `self.diagonals` (k,)."""
        raise NotImplementedError

    def after_epoch(self) -> dict[str, float]:
        values, self.values = self.values, {}
        return values
