"""States saved up to version 0.1.0, which had two param groups where an optimizer now has one.

Each group given was split in two: first the tensors that a rule adapts, then the excluded ones (`excluded: True`) in a
group of their own, whose `lr` was `excluded_lr` and whose weight decay was 0. Such states are joined here, so that old
checkpoints load and continue with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

Group = dict[str, Any]


def is_split(groups: Sequence[Mapping[str, Any]]) -> bool:
    """Whether `groups`, of a state or of a pickled optimizer, are in the old layout."""
    return any("excluded" in group for group in groups)


def joined(saved: Sequence[Group], groups: Sequence[Group], excluded: Callable[[Group, Tensor], bool]) -> list[Group]:
    """The groups of an old state, one for each of the optimizer's `groups`.

    Arguments:
        excluded: whether a tensor of a group with the given options is excluded.

    A number of groups or tensors that does not fit is left as it is, for torch to refuse.
    """
    left = list(saved)
    result: list[Group] = []
    for group in groups:
        if not left:
            break
        one = left.pop(0)
        if not one["excluded"] and left and left[0]["excluded"] and len(one["params"]) < len(group["params"]):
            one = _join(one, left.pop(0), [excluded(one, p) for p in group["params"]])
        result.append(converted(one))
    return result + left


def _join(adapted: Group, thin: Group, is_thin: Sequence[bool]) -> Group:
    """The two halves of what was one group; `is_thin` tells for each tensor of it which half it lies in."""
    one = dict(adapted)
    if len(thin["params"]) == sum(is_thin) and len(adapted["params"]) + len(thin["params"]) == len(is_thin):
        for key in ("params", "param_names"):
            if key in adapted:
                halves = {True: iter(thin[key]), False: iter(adapted[key])}
                one[key] = [next(halves[half]) for half in is_thin]
    one["lr_at_construction"] = _first_rate(adapted)
    if "excluded_lr" in adapted:
        one["excluded_lr"] = _first_rate(thin)
    return one


def _first_rate(group: Group) -> float:
    """The rate that a scheduler, or the training loop, began with and kept under `initial_lr`; else the present one."""
    return float(group["initial_lr"] if "initial_lr" in group else group["lr"])


def converted(group: Group) -> Group:
    """An old group that needs no joining: where its tensors were excluded, their rate was `lr` itself."""
    one = {key: value for key, value in group.items() if key != "excluded"}
    one.setdefault("lr_at_construction", _first_rate(group))
    return one | {"lr_reaches_excluded": group["excluded"], "weight_decay_reaches_excluded": False}
