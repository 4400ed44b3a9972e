"""PercentDelta (Abu-El-Haija 2017): the radius is the harmonic mean of |w/g|."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.optim import Optimizer

from trainables.optimizers.layerwise import EXCLUDED_LR, R_MAX, Batch, LayerWise
from trainables.optimizers.options import Rule, at_least
from trainables.optimizers.settings import Floor, LayerWiseSettings
from trainables.optimizers.tensorwise import LR

FLOOR = 1e-5
WEIGHT_FLOOR = 1e-6


class PercentDelta(LayerWise):
    """R = size(w) / ‖(g + βw) / w‖₁: paper (24); the decay is this project's extension.

    Weights near zero dominate the norm, so |w| is floored at `weight_floor` (no counter: some entry always
    is small), and the mean of |(g + βw)/w|, R's reciprocal, at `floor`. A tensor of zeros, whose floored
    radius would be a millionth of 1/|g|, takes R = 1. Otherwise see `LayerWise`.
    """

    rules: ClassVar[dict[str, Rule]] = {"weight_floor": at_least(1e-30)}

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = LR,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        weight_floor: float = WEIGHT_FLOOR,
        excluded_lr: float = EXCLUDED_LR,
        exclude: str = "1d",
        r_max: float = R_MAX,
        floor: float = FLOOR,
        maximize: bool = False,
        foreach: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, momentum, weight_decay, weight_floor=weight_floor,
            excluded_lr=excluded_lr, exclude=exclude, r_max=r_max, floor=floor, maximize=maximize, foreach=foreach,
        )  # fmt: skip

    def fraction(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return batch.relative(batch.options["weight_floor"])


class PercentDeltaSettings(LayerWiseSettings):
    """`optimizer: {name: percent_delta, gamma: …}`"""

    torch_class: ClassVar[type[Optimizer]] = PercentDelta
    name: Literal["percent_delta"] = "percent_delta"
    floor: Floor = FLOOR
    weight_floor: Floor = WEIGHT_FLOOR
