"""A trial's configuration, whole: what decides every bit of its result."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from trainables.data import Data, datasets
from trainables.errors import Refused
from trainables.models import Model, models
from trainables.optimizers.settings import OptimizerSettings, optimizers
from trainables.plugins import OneOf, SomeOf
from trainables.probes import Probe, probes
from trainables.schedules import Schedule, schedules
from trainables.schedules.constant import Constant
from trainables.settings import BatchSize, Epochs, Settings, about
from trainables.tree import flatten
from trainables.tricks import Trick, tricks

MOST_CORES = 10_000  # for one trial, of the largest machine


class TrialConfig(Settings):
    """One training run. Keys as in specs and stores: `optimizer/gamma` is `config.optimizer.gamma`."""

    model: Annotated[Model, OneOf(models)]
    data: Annotated[Data, OneOf(datasets)]
    optimizer: Annotated[OptimizerSettings, OneOf(optimizers)]
    schedule: Annotated[Schedule, OneOf(schedules)] = Constant()
    trick: Annotated[dict[str, Trick], SomeOf(tricks)] = {}
    probe: Annotated[dict[str, Probe], SomeOf(probes)] = {}
    batch_size: BatchSize
    micro_batch: Annotated[
        int | None,
        about("", "images a forward pass, accumulated to a batch; batch norm sees this many", unit="image", ge=1),
    ] = None
    epochs: Epochs
    seed: Annotated[int, about("", "seed of initialisation, order, augmentation, dropout", ge=0, lt=2**31)]
    device: Annotated[Literal["auto", "cpu", "cuda"], about("", "auto: a GPU where there is one")] = "auto"
    precision: Annotated[Literal["float32", "bfloat16"], about("", "bfloat16: autocast")] = "float32"
    threads: Annotated[int, about("", "CPU threads; other numbers give other bits", ge=1, le=MOST_CORES)] = 1

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        warmup = self.schedule.warmup_epochs
        if warmup >= self.epochs:
            raise Refused(
                "schedule/warmup_epochs", warmup, f"must be below epochs = {self.epochs}",
                "shorten the warm-up or train longer",
            )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _can_be_measured(self) -> Self:
        for probe in self.probe.values():
            probe.check(self)
        return self

    def flat(self) -> dict[str, Any]:
        """`{"optimizer/gamma": 0.01, …}`, the form that stores hold.

        A field that is absent is None, or at the default it was introduced with (see `Settings.identity`).
        """
        return dict(flatten(self.identity()))

    def hash(self) -> str:
        """The trial's identity, of its flat form: a stored trial keeps it when a field is added."""
        return hashlib.sha256(json.dumps(self.flat(), sort_keys=True).encode()).hexdigest()[:16]
