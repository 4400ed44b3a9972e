"""Momentum SGD, the baseline: torch's own, with Nesterov's momentum and the rate outside the buffer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import model_validator
from torch import nn
from torch.optim import SGD, Optimizer

from trainables.errors import Refused
from trainables.optimizers.settings import OptimizerSettings
from trainables.settings import Beta, Rate, about


class SGDSettings(OptimizerSettings):
    """`optimizer: {name: sgd, lr: …}`; every tensor decays, 1-D ones too, as torch does. Raises Refused."""

    rate: ClassVar[str] = "lr"

    name: Literal["sgd"] = "sgd"
    lr: Rate
    momentum: Annotated[float, about("m", "momentum, the rate outside its buffer", ge=0, lt=1)] = 0.9
    nesterov: Annotated[bool, about("", "take the gradient's step ahead of the buffer's")] = True
    beta: Beta = 0.0

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGDSettings:
        if self.nesterov and self.momentum == 0:
            raise Refused(
                "nesterov",
                self.nesterov,
                "wants momentum > 0",
                "set nesterov: false for SGD without momentum",
            )
        return self

    def build(self, params: Iterable[nn.Parameter]) -> Optimizer:
        # fused=True would be the fastest, but on a CPU it goes wrong where gradient and weight differ in memory layout.
        return SGD(params, self.lr, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.beta)
