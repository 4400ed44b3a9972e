"""What a spec may write under `optimizer`, and how it becomes a torch optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from torch import nn
from torch.optim import Optimizer

from trainables.optimizers.layerwise import EXCLUDED_LR, FLOOR, R_MAX
from trainables.plugins import Registry
from trainables.settings import Beta, ExcludedRate, Gamma, Momentum, Settings, about

Exclude = Annotated[Literal["1d", "none"], about("", "tensors that a layer-wise rule leaves out")]
RMax = Annotated[float, about("R_max", "cap on a radius", unit="weight²/loss", source="after paper (18), (19)", gt=0)]
Floor = Annotated[float, about("", "least value of a radius's denominator", source="after paper (18)", ge=1e-30)]


class OptimizerSettings(Settings):
    """An optimizer plug-in. `rate` names the field that the schedule multiplies and tricks may replace."""

    name: str
    rate: ClassVar[str]

    def build(self, params: Iterable[nn.Parameter]) -> Optimizer:
        """The torch optimizer over `params`; the spec's words become torch's here, and nowhere else."""
        raise NotImplementedError

    @property
    def period(self) -> int:
        """Steps until what a step costs repeats: 1 where all cost the same."""
        return 1


class LayerWiseSettings(OptimizerSettings):
    """Fields common to the layer-wise rules; the torch class does the rest."""

    rate: ClassVar[str] = "gamma"
    torch_class: ClassVar[type[Optimizer]]

    gamma: Gamma
    beta: Beta = 0.0
    momentum: Momentum = 0.9
    excluded_lr: ExcludedRate = EXCLUDED_LR
    exclude: Exclude = "1d"
    r_max: RMax = R_MAX
    floor: Floor = FLOOR

    def build(self, params: Iterable[nn.Parameter]) -> Optimizer:
        """Fields go to the torch class by their own names, but for torch's words lr and weight_decay."""
        words: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields if name != "name"}
        words["lr"], words["weight_decay"] = words.pop("gamma"), words.pop("beta")
        return self.torch_class(params, **words)


optimizers: Registry[type[OptimizerSettings]] = Registry("trainables.optimizers")
