"""The options of an optimizer: each class names its own as keywords of its constructor, and states a rule for each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, NamedTuple

from torch import Tensor

from trainables.settings import nearest


class Rule(NamedTuple):
    """The domain of an option, in words and as a test."""

    text: str
    holds: Callable[[Any], bool]


def _number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _rate(value: object) -> bool:
    plain = value.item() if isinstance(value, Tensor) and value.ndim == 0 else value
    return _number(plain) and plain >= 0  # type: ignore[operator]


def at_least(least: float) -> Rule:
    """A finite number of at least `least`."""
    return Rule(f"must be a finite number ≥ {least:g}", lambda x: _number(x) and x >= least)


def one_of(*words: str) -> Rule:
    """One of a few words."""
    return Rule(f"must be one of {', '.join(words)}", lambda x: isinstance(x, str) and x in words)


RATE = Rule("must be a finite number ≥ 0", _rate)  # or, as in torch's optimizers, a tensor of one that changes in place
POSITIVE = Rule("must be a finite number > 0", lambda x: _number(x) and x > 0)
SHARE = Rule("must lie in [0, 1)", lambda x: _number(x) and 0 <= x < 1)
COUNT = Rule("must be a whole number ≥ 1", lambda x: isinstance(x, int) and x >= 1)
COUNT_OR_NONE = Rule("must be None or a whole number ≥ 1", lambda x: x is None or COUNT.holds(x))
FLAG = Rule("must be True or False", lambda x: isinstance(x, bool))
FLAG_OR_NONE = Rule("must be None, True or False", lambda x: x is None or isinstance(x, bool))


def rules(kind: type) -> dict[str, Rule]:
    """The rules of a class: those that its bases state in an attribute `rules`, and its own over them."""
    merged: dict[str, Rule] = {}
    for base in reversed(kind.__mro__):
        merged |= vars(base).get("rules", {})
    return merged


def keywords(kind: type, base: type) -> dict[str, Any]:
    """The arguments that may be given to `kind` by name, and their defaults (`inspect.Parameter.empty`: none).

    They are those that its constructor names and, as long as it passes further keywords on (`**others`), those that
    the next class's constructor names, up to and without `base`.
    """
    defaults: dict[str, Any] = {}
    for one in kind.__mro__[: kind.__mro__.index(base)]:
        if "__init__" not in vars(one):
            continue
        _self, *parameters = inspect.signature(vars(one)["__init__"]).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                defaults.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return defaults


def check_names(kind: type, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises TypeError for the first name that is not known, with the nearest that is."""
    for name in given:
        if name not in known:
            raise TypeError(f"{kind.__name__} got an unexpected keyword argument {name!r}; {nearest(name, known)}")


def check_values(kind: type, options: Mapping[str, Any]) -> None:
    """Raises ValueError naming the first option that breaks its rule, its value and the rule."""
    for name, rule in rules(kind).items():
        if name in options and not rule.holds(options[name]):
            raise ValueError(f"{name} = {options[name]!r}: {rule.text}")
