"""Arms that search nothing: they train with the values that another cell's search found best.

    arms:
      lars: {optimizer: {name: lars}}
      lars-at-32: {tuned_at: {arm: lars, batch_size: 32}}

`lars-at-32` is `lars` with what else it states laid over it, and what `lars` searches it takes from the best trial of
`lars/32`, in every reading from that reading's. Values are taken as found, whatever the batch size, unless `scale` says
how one follows it: `scale: {optimizer/lr: sqrt}`, a rule of `study.scaling` or the exponent of a power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError

from search_spaces import Choice, Range
from study.scaling import POWER, RULES, Scaled, is_number, whole
from trainables.errors import Refused, explain
from trainables.settings import BatchSize, Settings, about, nearest

KEY = "tuned_at"  # in an arm
EXAMPLE = "for example tuned_at: {arm: lars, batch_size: 32}"

Rule = str | float  # by name, or a power's exponent


def _rule(given: Any) -> Rule:
    if is_number(given) or (isinstance(given, str) and given in RULES):
        return given
    raise Refused("", given, "is no rule by which a value follows the batch size", f"{nearest(str(given), RULES)}, "
                  "or the exponent of a power")  # fmt: skip


class TunedAt(Settings):
    """Whose search an arm has its values from."""

    arm: str
    batch_size: BatchSize
    scale: Annotated[
        dict[str, Annotated[Rule, BeforeValidator(_rule)]],
        about("", "how a value follows the batch size, by its key; one without stays as found"),
    ] = {}


def tuned_at(given: Any) -> dict[str, Any]:
    """The section of an arm, validated and plain again, without what is at its default. Raises Refused."""
    if not isinstance(given, Mapping):
        raise Refused(KEY, given, "a mapping is wanted", EXAMPLE)
    try:
        return TunedAt.model_validate(given).model_dump(exclude_defaults=True)
    except ValidationError as error:
        raise explain(error).under(KEY) from None
    except Refused as refused:
        raise refused.under(KEY) from None


@dataclass(frozen=True)
class Source:
    """Where a cell has its values from: the cell whose search finds them, at its batch size, and what is searched."""

    cell: str
    batch_size: int
    space: Mapping[str, Range]
    scale: Mapping[str, Rule] = field(default_factory=dict)

    def taken(self, values: Mapping[str, Any], n: int, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """What a cell at batch size `n`, with these `fixed` settings, takes of the `values` found."""
        return {key: self._at(key, value, n, fixed) for key, value in values.items() if key in self.space}

    def _at(self, key: str, value: Any, n: int, fixed: Mapping[str, Any]) -> Any:
        rule = self.scale.get(key)
        if rule is None:
            return value
        name, exponent = (rule, None) if isinstance(rule, str) else (POWER, float(rule))
        return Scaled(value, self.batch_size, name, exponent).at_size(n, whole(key, fixed))

    def check(self, where: str) -> None:
        """Raises Refused where `scale` names what is not taken, or is no number."""
        for key in self.scale:
            if key not in self.space:
                rule = f"is not among what {self.cell} searches and this arm takes"
                raise Refused(f"{where}/{KEY}/scale", key, rule, nearest(key, self.space))
            range_ = self.space[key]
            if isinstance(range_, Choice) and not all(map(is_number, range_.choices)):
                raise Refused(f"{where}/{KEY}/scale/{key}", list(range_.choices), "are no numbers", "leave it out")
