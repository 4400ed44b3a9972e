"""What every configured thing is made of: frozen settings, and the fields that many of them share.

A field is stated once: its domain, symbol, unit and source. Specs, search spaces, MLflow and the report
read them from here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, model_validator

from trainables.errors import Refused

STORED = {"stored": True}  # the context of validation of what a directory stores: a validator made stricter spares it
LARGEST, SMALLEST = 3.4e38, 1.2e-38  # the numbers of float32, in which training runs
MOST = 2**53  # the last whole number up to which a float holds all


class Settings(BaseModel):
    """Frozen fields; an unknown key is refused with the nearest known one, a number where training knows none too."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, Mapping):
            for key, value in given.items():
                if key not in cls.model_fields:
                    raise Refused(str(key), value, "unknown key", nearest(str(key), cls.model_fields))
                kinds = set(_kinds(cls.model_fields[key].annotation))
                if kinds & {int, float} and bool not in kinds and _holds_truth(value) and info.context != STORED:
                    raise Refused(key, value, "a number is wanted, not true or false", "give a number")
        return given

    @model_validator(mode="after")
    def _training_knows_its_numbers(self, info: ValidationInfo) -> Self:
        for key in type(self).model_fields if info.context != STORED else ():
            value = getattr(self, key)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int | float) and (where := _beyond(number)):
                    raise Refused(key, number, f"is {where}, where training's numbers end", "give another number")
        return self

    def identity(self) -> dict[str, Any]:
        """What tells these settings from others: their dump without fields that are None, or as they were introduced.

        A field that is added with `about(…, introduced=DEFAULT)` so leaves every older configuration what it was.
        """
        dump = self.model_dump()
        for name, field in type(self).model_fields.items():
            value, extra = getattr(self, name), field.json_schema_extra
            if value == (extra.get("introduced") if isinstance(extra, dict) else None):
                del dump[name]
            elif isinstance(value, Settings):
                dump[name] = value.identity()
            elif isinstance(value, Mapping):
                dump[name] |= {key: one.identity() for key, one in value.items() if isinstance(one, Settings)}
        return dump


def _kinds(annotation: Any) -> Iterable[Any]:
    """The types that a field's annotation is made of."""
    below = get_args(annotation)
    return (kind for each in below for kind in _kinds(each)) if below else (annotation,)


def _holds_truth(value: Any) -> bool:
    """Whether it is, or is a list or mapping of, true or false."""
    each = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or any(map(_holds_truth, each))


def _beyond(number: float) -> str:
    if abs(number) > (MOST if isinstance(number, int) else LARGEST):
        return f"beyond {MOST if isinstance(number, int) else LARGEST:.2g}"
    return f"below {SMALLEST:.2g}" if 0 < abs(number) < SMALLEST else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt `word`: the nearest of the `known` ones, and all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}known: {', '.join(known) or 'none'}"


def about(
    symbol: str,
    text: str,
    *,
    unit: str = "1",
    source: str = "",
    introduced: JsonValue = None,
    **domain: Any,
) -> Any:
    """A pydantic field that carries its symbol, unit and source beside its domain (`gt`, `le`, …).

    `introduced` is for a field that a plug-in or a trial gets after configurations without it have been stored: its
    default on that day. It stays for ever, also when the default changes (see `Settings.identity`).
    """
    extra: dict[str, JsonValue] = {"symbol": symbol, "unit": unit, "source": source}
    if introduced is not None:
        extra["introduced"] = introduced
    return Field(description=text, json_schema_extra=extra, **domain)


Gamma = Annotated[float, about("γ", "global coefficient of a layer-wise rule", source="paper (10), (21)", gt=0)]
Rate = Annotated[float, about("lr", "learning rate", unit="weight²/loss", source="paper (5)", gt=0)]
Beta = Annotated[float, about("β", "weight decay: the loss gains β/2·‖w‖²", source="paper (22)", ge=0)]
Momentum = Annotated[float, about("m", "momentum, the rate inside its buffer", source="You 2017", ge=0, lt=1)]
ExcludedRate = Annotated[
    float,
    about(
        "lr₁",
        "rate of the tensors that a layer-wise rule excludes (biases, norms)",
        unit="weight²/loss",
        gt=0,
    ),
]
BatchSize = Annotated[int, about("n", "batch size", unit="image", source="paper (2)", ge=1)]
Epochs = Annotated[int, about("E", "passes over the training split", unit="epoch", ge=1, le=100_000)]
Width = Annotated[float, about("width", "multiplier of every hidden layer's channels", gt=0, le=4)]
Dropout = Annotated[float, about("dropout", "probability of dropping a hidden unit", ge=0, lt=1)]
