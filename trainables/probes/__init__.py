"""Probes: what a trial measures beside loss and accuracy. A plug-in is a settings class.

`start` returns an observer, whose hooks the loop calls. What `after_epoch` returns reaches MLflow as
`probe/NAME/KEY`. A probe changes nothing: with and without it a trial has the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainables.data.batches import Batches
from trainables.plugins import Registry, check_hooks
from trainables.settings import Settings
from trainables.step import Part, Step
from trainables.tricks import Trick


class Configuration(Protocol):
    """What a probe may ask of a trial's configuration."""

    @property
    def batch_size(self) -> int:
        """n, images a step, before any trick changes it."""

    @property
    def micro_batch(self) -> int | None:
        """Images a forward pass, at most; None: the whole batch."""

    @property
    def trick(self) -> Mapping[str, Trick]:
        """The tricks at work, by name."""


class Subject(Protocol):
    """What a probe may ask of the trial that it measures. What changes from step to step is in the hooks' `Step`."""

    @property
    def config(self) -> Configuration:
        """Its configuration."""

    @property
    def model(self) -> nn.Module:
        """The network, (n, 3, 32, 32) → (n, classes)."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer, whose param groups hold the step's rate."""

    @property
    def train(self) -> Batches:
        """The training images, on `device`."""

    @property
    def device(self) -> torch.device:
        """Where model and images lie."""

    def generator(self, *words: object) -> torch.Generator:
        """Random numbers on the CPU for the use that `words` name, the same in every run of this trial."""

    def losses(self, step: Step, rows: Tensor) -> Tensor:
        """Losses (k,) of the step's images at `rows` (k,), in a pass of their own, with their graph."""


class Observer:
    """What a probe does during one trial. It keeps nothing across epochs, so a resumed trial measures the same.

    The hooks below are in the loop's order; one that is not overridden costs nothing. Raises Refused where a subclass
    gives one other parameters.
    """

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        check_hooks(cls, Observer)

    def before_epoch(self, epoch: int) -> None:
        """The epoch, counted from 1, is about to begin."""

    def before_backward(self, part: Part) -> None:
        """The graph of a part's loss, before its backward pass: leave it whole."""

    def after_part(self, part: Part) -> None:
        """`p.grad` holds the gradient of this part's loss alone."""

    def after_backward(self, part: Part) -> None:
        """`p.grad` holds the sum of the step's parts so far."""

    def before_step(self, step: Step) -> None:
        """`p.grad` holds the batch's gradient, before any trick changes it; the parameters have not moved."""

    def after_step(self, step: Step) -> None:
        """The optimizer has moved the parameters; a trick may yet. The step's gradient is still in `p.grad`."""

    def after_epoch(self) -> dict[str, float]:
        """The epoch's values, by layer (a parameter's name) or quantity. The next epoch starts from nothing."""
        return {}


class Hooks:
    """The observers' hooks, by name: those alone that some observer overrides."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        every = list(observers)
        self.before_epoch = [one.before_epoch for one in every if _overrides(one, "before_epoch")]
        self.before_backward = [one.before_backward for one in every if _overrides(one, "before_backward")]
        self.after_part = [one.after_part for one in every if _overrides(one, "after_part")]
        self.after_backward = [one.after_backward for one in every if _overrides(one, "after_backward")]
        self.before_step = [one.before_step for one in every if _overrides(one, "before_step")]
        self.after_step = [one.after_step for one in every if _overrides(one, "after_step")]


def _overrides(observer: Observer, hook: str) -> bool:
    return getattr(type(observer), hook) is not getattr(Observer, hook)


class Probe(Settings):
    """A probe plug-in."""

    def check(self, config: Configuration) -> None:
        """Raises Refused where a trial of this configuration cannot be measured."""

    def start(self, trial: Subject) -> Observer:
        """An observer of this trial, before its first step or where it is resumed."""
        raise NotImplementedError


probes: Registry[type[Probe]] = Registry("trainables.probes")
