"""What a spec may write under `optimizer`, and how it becomes a torch optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from torch import nn
from torch.optim import Optimizer

from trainables.plugins import Registry
from trainables.settings import Beta, ExcludedRate, Gamma, Momentum, Settings


class OptimizerSettings(Settings):
    """An optimizer plug-in. `rate` names the field that the schedule multiplies and tricks may replace."""

    name: str
    rate: ClassVar[str]

    def build(self, params: Iterable[nn.Parameter]) -> Optimizer:
        """The torch optimizer over `params`; the spec's words become torch's here, and nowhere else."""
        raise NotImplementedError


class LayerWiseSettings(OptimizerSettings):
    """Fields common to the layer-wise rules; the torch class does the rest."""

    rate: ClassVar[str] = "gamma"
    torch_class: ClassVar[type[Optimizer]]

    gamma: Gamma
    beta: Beta = 0.0
    momentum: Momentum = 0.9
    excluded_lr: ExcludedRate = 0.01

    def build(self, params: Iterable[nn.Parameter]) -> Optimizer:
        own = {k: getattr(self, k) for k in type(self).model_fields if k not in LayerWiseSettings.model_fields}
        words: dict[str, Any] = {
            "lr": self.gamma,
            "momentum": self.momentum,
            "weight_decay": self.beta,
            "excluded_lr": self.excluded_lr,
        }
        return self.torch_class(params, **words, **own)


optimizers: Registry[type[OptimizerSettings]] = Registry("trainables.optimizers")
