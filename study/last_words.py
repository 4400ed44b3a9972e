"""What is known of a worker process that died: the error it ended with, in few lines of Ray's many."""

from __future__ import annotations

import re

from study.text import printable

PLACE = re.compile(r"\bip(?:=|: )([0-9a-f.:]+)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CARETS = re.compile(r"^[\s^~]*$")
LINES, LENGTH = 12, 2000  # of what is kept in a tag
SENTENCE = 300  # characters of what is said in a message
ADVICE = (" Some common causes include:", " There are some potential root causes")  # Ray's own, after the fact itself


def kept(text: str) -> str:
    """The first lines of what was said, without colours and markers; bounded."""
    lines = [line.rstrip() for line in printable(COLOURS.sub("", text)).splitlines() if not CARETS.match(line)]
    return "\n".join(lines[:LINES])[:LENGTH]


def summary(text: str) -> str:
    """One sentence: the error that a worker raised, or how its process ended, and on which node."""
    lines = [line.strip() for line in COLOURS.sub("", text).splitlines() if not CARETS.match(line)]
    detail = next((part for line in lines for part in line.split("Worker exit detail: ")[1:]), "")
    for advice in ADVICE:
        detail = detail.partition(advice)[0]
    said = detail or (lines[-1] if lines else "nothing is known of it")
    place = PLACE.search(text)
    return printable(said)[:SENTENCE].strip() + (f" on node {place[1]}" if place else "")
