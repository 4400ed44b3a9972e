"""Calling the command line as a person would, in this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from study import cli

SMOKE = Path(cli.__file__).parent / "specs" / "smoke.yaml"


class Result(NamedTuple):
    status: int
    out: str
    err: str


def study(capsys: pytest.CaptureFixture[str], *words: object) -> Result:
    """`study WORDS…`: exit status, standard output, standard error."""
    capsys.readouterr()
    before = sys.argv
    sys.argv = ["study", *map(str, words)]
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = before
    return Result(status, *capsys.readouterr())
