"""Values that depend on the batch size: `{value: 0.05, at: 8192, scale: linear}` in place of a number.

`linear` is the linear scaling rule of rates (Goyal et al. 2017) and, for `epochs`, a fixed number of steps; `sqrt` the
square-root rule (Krizhevsky 2014; LEGW, You et al. 2019, whose warm-up is linear). `power` has an `exponent` of its
own: the paper's two rates, 0.005 at 512 and 0.05 at 8192, lie on n^0.83.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, inf, isfinite, sqrt
from typing import Any, TypeGuard, get_args

from trainables.config import TrialConfig
from trainables.data import datasets
from trainables.errors import Refused
from trainables.models import models
from trainables.optimizers.settings import optimizers
from trainables.probes import probes
from trainables.schedules import schedules
from trainables.settings import nearest
from trainables.tricks import tricks

RULES: dict[str, Callable[[float], float]] = {"linear": lambda ratio: ratio, "sqrt": sqrt, "constant": lambda _: 1.0}
POWER = "power"  # the rule that states its own exponent
KEYS = ("value", "at", "scale")
PLUGINS: dict[str, Any] = {"model": models, "data": datasets, "optimizer": optimizers, "schedule": schedules,
                           "trick": tricks, "probe": probes}  # fmt: skip


@dataclass(frozen=True)
class Scaled:
    """`value` at batch size `at`, and elsewhere by `scale`; `exponent` is set where `scale` is `power` alone."""

    value: float
    at: int
    scale: str
    exponent: float | None = None

    def at_size(self, n: int, is_whole: bool) -> float:
        """The value at batch size `n`; of a field of whole numbers, rounded up. Infinite where it is no float."""
        ratio = n / self.at
        try:
            exact = self.value * (RULES[self.scale](ratio) if self.exponent is None else ratio**self.exponent)
        except ArithmeticError:
            exact = inf
        return ceil(exact - 1e-9) if is_whole and isfinite(exact) else exact

    def __str__(self) -> str:
        rule = self.scale if self.exponent is None else f"{self.scale} {self.exponent:g}"
        return f"{self.value:g} at {self.at}, {rule}"


def is_scaled(given: Mapping[str, Any]) -> bool:
    """Whether a mapping is meant as such a value: `scaled` then says what is wrong with it."""
    return len(given.keys() & {*KEYS, "exponent"}) >= 2


def scaled(given: Mapping[str, Any], path: str) -> Scaled:
    """`{value, at, scale}`, with an `exponent` where the scale is `power`, in words of this module. Raises Refused."""
    shown = "for example {value: 0.05, at: 8192, scale: linear}"
    if set(given) - {"exponent"} != set(KEYS):
        raise Refused(path, dict(given), "a value that depends on the batch size has value, at and scale", shown)
    value, at, scale, exponent = (given.get(key) for key in (*KEYS, "exponent"))
    if not isinstance(scale, str) or scale not in (*RULES, POWER):
        raise Refused(f"{path}/scale", scale, "there is no such rule", nearest(str(scale), (*RULES, POWER)))
    if scale != POWER and "exponent" in given:
        raise Refused(f"{path}/exponent", exponent, f"scale: {scale} has none", "leave it out, or use scale: power")
    if scale == POWER and not is_number(exponent):
        raise Refused(f"{path}/exponent", exponent, "scale: power wants a number", "for example exponent: 0.83")
    if isinstance(at, bool) or not isinstance(at, int) or at < 1:
        raise Refused(f"{path}/at", at, "a batch size is wanted", shown)
    if not is_number(value):
        raise Refused(f"{path}/value", value, "a number is wanted", shown)
    return Scaled(value, at, scale, exponent)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def whole(key: str, given: Mapping[str, Any]) -> bool:
    """Whether the field `key` (`optimizer/lr`) of a trial with these leaves takes whole numbers only."""
    section, *below = key.split("/")
    fields = TrialConfig.model_fields
    if below:
        plugin = below[0] if section in ("trick", "probe") else given.get(f"{section}/name")
        registry = PLUGINS.get(section)
        if registry is None or plugin not in registry:
            return False  # refused later, with the known names
        fields = registry.get(plugin).model_fields
    field = fields.get(below[-1] if below else section)
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return int in kinds and float not in kinds
