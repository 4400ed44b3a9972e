"""Probes: what a trial measures beside loss and accuracy. A plug-in is a settings class.

`start` returns an observer, whose hooks the loop calls. What `after_epoch` returns reaches MLflow as
`probe/NAME/KEY`. A probe changes nothing: with and without it a trial has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from trainables.plugins import Registry
from trainables.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from trainables.config import TrialConfig
    from trainables.train import Trial


class Observer:
    """What a probe does during one trial. It keeps nothing across epochs, so a resumed trial measures the same.

    The hooks below are in the loop's order; one that is not overridden costs nothing.
    """

    def before_epoch(self, epoch: int) -> None:
        """`epoch` counts from 1."""

    def before_backward(self, loss: Tensor, logits: Tensor, weights: Tensor) -> None:
        """The graph of a step's loss, or of a micro-batch's share of it, before its backward pass: leave it whole.

        `logits` (n, classes) and the samples' `weights` (n,) are what it was made of.
        """

    def after_part(self, weights: Tensor) -> None:
        """`p.grad` holds the gradient of this micro-batch's share of the loss alone; its samples' `weights` (n,)."""

    def after_backward(self) -> None:
        """`p.grad` holds the sum of the step's micro-batches so far."""

    def before_step(self) -> None:
        """`p.grad` holds the batch's gradient, before any trick changes it; the parameters have not moved."""

    def after_step(self) -> None:
        """The optimizer has moved the parameters; a trick may yet. The step's gradient is still in `p.grad`."""

    def after_epoch(self) -> dict[str, float]:
        """What the epoch showed, by layer (a parameter's name) or quantity; then start afresh."""
        return {}


class Hooks:
    """The observers' hooks, by name: those alone that some observer overrides."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)
        self.before_epoch = self._of("before_epoch")
        self.before_backward = self._of("before_backward")
        self.after_part = self._of("after_part")
        self.after_backward = self._of("after_backward")
        self.before_step = self._of("before_step")
        self.after_step = self._of("after_step")

    def _of(self, name: str) -> list[Callable[..., Any]]:
        usual = getattr(Observer, name)
        return [getattr(one, name) for one in self._observers if getattr(type(one), name) is not usual]


class Probe(Settings):
    """A probe plug-in."""

    def check(self, config: TrialConfig) -> None:
        """Raises Refused where a trial of this configuration cannot be measured."""

    def start(self, trial: Trial) -> Observer:
        """An observer of this trial: its `model`, `optimizer`, `config`, `train` images, current `rate`, …"""
        raise NotImplementedError


probes: Registry[type[Probe]] = Registry("trainables.probes")
