"""Whether equal budgets are equal chances: spaces of unequal size, and choices that a search never tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from search_spaces import Choice, Range
from study.plan import Cell
from study.spec import Spec


def points(space: Mapping[str, Range]) -> int | None:
    """The number of combinations in a space of choices alone; None where a range of numbers has no end of them."""
    choices = [len(range_.choices) for range_ in space.values() if isinstance(range_, Choice)]
    return prod(choices) if len(choices) == len(space) else None


def unequal(plan: Iterable[Cell]) -> str:
    """One sentence where arms share a budget but not the size of what they search; else empty.

    Arms that search nothing need no budget and are left out. A space of choices alone is as large as the number of
    its combinations, any other as the number of its dimensions.
    """
    arms: dict[str, list[str]] = {}
    for cell in plan:
        if cell.space and cell.arm not in (known := arms.setdefault(_size(cell.space), [])):
            known.append(cell.arm)
    if len(arms) < 2:
        return ""
    sizes = "; ".join(f"{size} in {', '.join(names)}" for size, names in sorted(arms.items()))
    return f"Arms search spaces of unequal size with the same number of trials: {sizes}"


def notes(spec: Spec, plan: Iterable[Cell]) -> list[str]:
    """What a user should know of the search before it runs: spaces of unequal size, grids that a budget cuts short."""
    plan = list(plan)
    said = [f"warning: {sentence[:1].lower()}{sentence[1:]}"] if (sentence := unequal(plan)) else []
    for cell in plan if spec.search.sampler.discrete else []:
        combinations = points(cell.space)
        if cell.space and combinations is not None and spec.search.trials < combinations:
            said.append(f"warning: {cell.name} tries {spec.search.trials} of its {combinations} combinations")
    return said


def untried(space: Mapping[str, Range], drawn: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each searched choice with the values that none of the trials' parameters `drawn` (by key) has."""
    trials = list(drawn)
    missing: list[str] = []
    for key, range_ in space.items():
        if isinstance(range_, Choice):
            seen = [trial.get(key) for trial in trials]
            never = [str(choice) for choice in range_.choices if choice not in seen]
            missing += [f"{key} = {', '.join(never)}"] if never else []
    return missing


def _size(space: Mapping[str, Range]) -> str:
    combinations = points(space)
    return _count(len(space), "dimension") if combinations is None else _count(combinations, "combination")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
