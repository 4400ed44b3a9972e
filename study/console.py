"""What the command line writes on the terminal, a pipe or a file: text as it is, whoever wrote it.

Most of it is not ours: paths, names, messages of other libraries. So no markup is ever read in it, in messages as in
tables, a character that would steer the terminal is shown by its code, and a password in a URL by stars.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from study.text import printable
from trainables.errors import masked

PIPE_WIDTH = 140  # columns of a table where there is no terminal


class PlainConsole(Console):
    """A rich console that takes every string literally, in `print`, in `say`, and in the cells of tables."""

    def __init__(
        self, file: IO[str] | None = None, *, stderr: bool = False, force_terminal: bool | None = None,
        width: int | None = None, quiet: bool = False,
    ) -> None:  # fmt: skip
        """`file` is where it writes; None is standard output, or standard error where `stderr`."""
        super().__init__(
            file=file, stderr=stderr, force_terminal=force_terminal, width=width, quiet=quiet,
            markup=False, emoji=False, highlight=False,
        )  # fmt: skip
        if width is None and not self.is_terminal and not stderr:
            self.width = PIPE_WIDTH

    def say(self, text: str) -> None:
        """Write a message, whose lines are never broken: a path broken in two is no path."""
        self.print(text, soft_wrap=True)

    def show(self, table: Table) -> None:
        """Write a table. Where the terminal is too narrow for its longest words, lines run on: no word is cut."""
        if not self.fits(table):
            table.width = self._natural(table).maximum
        self.print(table, crop=False)

    def fits(self, table: Table) -> bool:
        """Whether the longest words of all columns have room beside one another."""
        return self._natural(table).minimum <= self.width

    def _natural(self, table: Table) -> Measurement:
        return self.measure(table, options=self.options.update(max_width=sys.maxsize))

    def render_str(self, text: str, **options: Any) -> Text:
        """Rich renders every string here, a table's cells included."""
        return super().render_str(printable(masked(text)), **options)

    def on_broken_pipe(self) -> None:
        """The reader of our pipe has gone, as in `study run … | head -1`: the work goes on, unheard."""
        self.quiet = True
        with suppress(OSError, ValueError):  # Python flushes what it still holds when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


def open_standard_streams() -> None:
    """Make the three standard streams safe to write on, before any other file is opened.

    One that the caller closed (`>&-`) leads nowhere from now on: else the next file that is opened takes its number,
    and what other programs print lands in that file. A character that the locale lacks is written as its code.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(opened := os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            if opened != number:
                os.close(opened)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
