"""Messages that others wrote, made fit to be part of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trainables.errors import bounded

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


def printable(text: str) -> str:
    r"""The text with codes in place of control characters: `\x1b[31m` would colour the terminal."""
    return CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, as far as it fits into ours; its class where it has none."""
    return bounded((str(error).strip().splitlines() or [type(error).__name__])[0])


def last_line(text: str | None) -> str:
    """The last line of a traceback or message, as far as it fits into ours; `unknown reason` where there is none."""
    return bounded(((text or "").strip().splitlines() or ["unknown reason"])[-1])


def duration(seconds: float) -> str:
    """`125` → `"2 min 5 s"`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def listed(names: Sequence[str]) -> str:
    """`"a"`, `"a and b"`, `"a, b and c"`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
