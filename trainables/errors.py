"""The one error a user's mistake raises. What a message quotes is bounded, and shows no password."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

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


class Refused(ValueError):
    """A request that cannot be carried out: the field, its value, the rule it breaks and the remedy."""

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        self.field, self.value, self.rule, self.remedy = field, value, rule, remedy
        super().__init__(f"{bounded(field)} = {shown(value)}: {bounded(rule)}; {bounded(remedy)}")

    def __reduce__(self) -> tuple[type[Refused], tuple[str, object, str, str]]:
        return type(self), (self.field, self.value, self.rule, self.remedy)

    def under(self, path: str) -> Refused:
        """The same, with the field seen from further up."""
        return Refused(f"{path}/{self.field}".strip("/"), self.value, self.rule, self.remedy)


def explain(error: ValidationError) -> Refused:
    """The first of pydantic's complaints, as one sentence about one field."""
    first = error.errors()[0]
    path = "/".join(str(key) for key in first["loc"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, Refused):
        return cause.under(path)
    rule = first["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    if first["type"] == "missing":
        return Refused(path, None, "is required", "give it a value in the spec, or with --set")
    return Refused(path or "the request", first["input"], rule, "correct it in the spec, or with --set")
