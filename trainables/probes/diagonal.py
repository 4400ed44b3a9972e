"""The Hessian's diagonal at an epoch's first step, estimated for the probes that draw on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from trainables.optimizers import hessian_diagonal
from trainables.probes import Observer, Subject
from trainables.probes.layers import Layers
from trainables.settings import about
from trainables.step import Part, Step

Estimator = Literal["gnb", "hutchinson"]
DrawCount = Annotated[
    int, about("", "random draws that an estimate takes at least, spread over the step's micro-batches", ge=1)
]


class FirstStep(Observer):
    """Estimates the diagonal h (k,) of the step's loss as the sum over its parts; a subclass makes its values of it.

    One draw's h is the truth times roughly a χ² variable of one degree of freedom, so medians and means of 1/h need
    several draws. Every part is drawn anew, so a step of several parts needs fewer draws of each.
    """

    def __init__(self, trial: Subject, layers: Layers, estimates: Sequence[Estimator], draws: int) -> None:
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
        params, draws = self.layers.params, -(-self.draws // len(part.step.slices))
        if "gnb" in self.estimates:
            for _ in range(draws):
                diagonal = hessian_diagonal.gauss_newton_bartlett(part.logits, part.weights, params, self.generator)
                self._add("gnb", diagonal, draws)
        if "hutchinson" in self.estimates:
            grads = torch.autograd.grad(part.loss, params, create_graph=True, allow_unused=True)
            for _ in range(draws):
                signs = hessian_diagonal.random_signs(params, self.generator)
                self._add("hutchinson", hessian_diagonal.hutchinson(grads, params, signs, retain=True), draws)

    def _add(self, estimate: Estimator, diagonal: list[Tensor], draws: int) -> None:
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
