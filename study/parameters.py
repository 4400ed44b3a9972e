"""A cell's ranges as Optuna's parameters, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from search_spaces import Choice, Float, Range


def optuna_key(key: str, range_: Range) -> str:
    """The parameter's name in Optuna: `1-optimizer/momentum` where 1 - value is drawn."""
    return f"1-{key}" if isinstance(range_, Float) and range_.complement else key


def distributions(space: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    """Each range as Optuna's distribution, by the parameter's name in Optuna."""
    return {optuna_key(key, range_): _distribution(range_) for key, range_ in space.items()}


def centre(space: Mapping[str, Range]) -> dict[str, Any]:
    """The middle of every range, by the parameter's name in Optuna."""
    return {optuna_key(key, range_): range_.centre() for key, range_ in space.items()}


def covering(range_: Range, drawn: Sequence[Any]) -> Range:
    """The range, grown to hold values that were `drawn` outside it: a raised budget may meet trials of later rounds."""
    if not isinstance(range_, Float) or not drawn:
        return range_
    values = [float(each) for each in drawn]
    return replace(range_, low=min(range_.low, *values), high=max(range_.high, *values))


def same_numbers(ours: BaseDistribution | None, theirs: CategoricalDistribution) -> bool:
    """Whether both offer the same numbers: a choice of `1e-2` was text once, and is a number now."""
    if not isinstance(ours, CategoricalDistribution):
        return False
    try:
        return [float(str(each)) for each in ours.choices] == [float(str(each)) for each in theirs.choices]
    except ValueError:
        return False


def _distribution(range_: Range) -> BaseDistribution:
    if isinstance(range_, Choice):
        return CategoricalDistribution(range_.choices)
    return FloatDistribution(range_.low, range_.high, log=range_.log)
