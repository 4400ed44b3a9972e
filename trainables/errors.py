"""The one error a user's mistake raises. What a message quotes is bounded, and shows no password."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

LONGEST_VALUE, LONGEST_TEXT = 300, 1000  # characters of a message's value, and of each of its other parts

# `user:password@` of a URL, up to the last @ of the word; and `password=…` as drivers of databases take it
LOGIN = re.compile(r"(://[^\s:/@'\"]*):[^\s'\"]*@")
PARAMETER = re.compile(r"(?i)(?:\b|(?<=%3B)|(?<=%26))((?:ssl)?password|passwd|pwd)(=|%3D)[^\s&;'\"]+")


def masked(text: str) -> str:
    """The text with `***` in place of the passwords of its URLs."""
    return PARAMETER.sub(r"\1\2***", LOGIN.sub(r"\1:***@", text))


def bounded(text: str, most: int = LONGEST_TEXT) -> str:
    """The text as far as it fits into a message, its passwords masked."""
    text = masked(text[: 10 * most])
    return text if len(text) <= most else f"{text[:most]}…"


def shown(value: object, most: int = LONGEST_VALUE) -> str:
    """The value's repr as far as it fits, without ever making the whole of one that is far larger."""
    text = ""
    for piece in _pieces(value, most):
        text += piece
        if len(text) > most:
            break
    return bounded(text, most)


def _pieces(value: object, most: int) -> Iterator[str]:
    if isinstance(value, list | tuple):
        opening, closing = "[]" if isinstance(value, list) else "()"
        yield opening
        for at, each in enumerate(value):
            yield ", " if at else ""
            yield from _pieces(each, most)
        yield ",)" if isinstance(value, tuple) and len(value) == 1 else closing
    elif isinstance(value, Mapping):
        yield "{"
        for at, (key, each) in enumerate(value.items()):
            yield f"{', ' if at else ''}{shown(key, most)}: "
            yield from _pieces(each, most)
        yield "}"
    else:
        yield repr(value[: most + 1] if isinstance(value, str) else value)


MOST = 20  # mistakes told at once


class Refused(ValueError):
    """A request that cannot be carried out: the field, its value, the rule it breaks and the remedy.

    `others`: further mistakes of the same request, each told on a line of its own.
    """

    others: tuple[Refused, ...] = ()

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        self.field, self.value, self.rule, self.remedy = field, value, rule, remedy
        super().__init__(f"{bounded(field)} = {shown(value)}: {bounded(rule)}; {bounded(remedy)}")

    def __str__(self) -> str:
        lines = [self.args[0], *(each.args[0] for each in self.others[: MOST - 1])]
        more = len(self.others) + 1 - len(lines)
        return "\n".join(lines + [f"and {more} more"] * (more > 0))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.value, self.rule, self.remedy), {"others": self.others}

    def under(self, path: str) -> Refused:
        """The same, with the field seen from further up."""
        return together(
            Refused(f"{path}/{each.field}".strip("/"), each.value, each.rule, each.remedy) for each in self.apart()
        )

    def apart(self) -> list[Refused]:
        """Each mistake by itself."""
        return [Refused(self.field, self.value, self.rule, self.remedy), *self.others]


def together(refusals: Iterable[Refused]) -> Refused:
    """One for all, at least one; what several say alike is told once."""
    first, *others = {each.args[0]: each for refused in refusals for each in refused.apart()}.values()
    first.others = tuple(others)
    return first


def explain(error: ValidationError) -> Refused:
    """Pydantic's complaints, each as one sentence about one field."""
    told: dict[tuple[int | str, ...], Refused] = {}
    for each in error.errors():
        place = each["loc"]
        if not any(inner[: len(place)] == place for inner in told):  # a list of bad items is not also too short
            told[place] = _sentence(each)
    return together(told.values())


def _sentence(complaint: ErrorDetails) -> Refused:
    path = "/".join(str(key) for key in complaint["loc"])
    cause = complaint.get("ctx", {}).get("error")
    if isinstance(cause, Refused):
        return cause.under(path)
    rule = complaint["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    if complaint["type"] == "missing":
        return Refused(path, None, "is required", "give it a value in the spec, or with --set")
    return Refused(path or "the request", complaint["input"], rule, "correct it in the spec, or with --set")
