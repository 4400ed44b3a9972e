"""What a person sees of a running study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.console import PlainConsole
from study.cost import Total
from study.outcome import Count, Outcome
from study.plan import Assignment
from study.text import duration, last_line

PLAIN_SECONDS = 20.0  # between lines where there is no terminal
LONG_SECONDS = 600.0  # a run that takes longer says so before it starts


class Display:
    """Cells, trials, best so far and the time left."""

    def __init__(self, console: PlainConsole, name: str, slots: int) -> None:
        self.console, self.name, self.slots = console, name, slots
        self.counts: dict[str, Count] = {}
        self.seconds: dict[str, list[float]] = {}  # of ended trials, by cell
        self.began = self.said = time.monotonic()
        self.screen: Live | None = None
        self.started = False

    def studies(self, total: int, left: int) -> None:
        """Say how many studies of a collection are not complete."""
        self.say(f"{self.name}: {total} studies, {left} to run")

    def cost(self, expected: Total) -> None:
        """Say what a long run would take, before it starts."""
        seconds = expected.seconds / self.slots
        if expected.failure:
            self.say(f"{self.name}: how long it takes is unknown ({expected.failure})")
        elif seconds > LONG_SECONDS:
            self.say(f"{self.name} is long: {price(replace(expected, seconds=seconds), self.slots)}")

    @contextmanager
    def live(self, counts: Mapping[str, Count]) -> Iterator[None]:
        """Show progress while the study runs inside."""
        self.counts = {name: replace(count, running=0) for name, count in counts.items()}
        todo = sum(count.left for count in counts.values())
        total = sum(count.total for count in counts.values())
        self.say(f"{self.name}: {len(counts)} cells, {total} trials, {todo} to run, {self.slots} at once")
        self.say("starting the workers …")
        if not self.console.is_terminal:
            yield
            return
        with Live(
            console=self.console, get_renderable=self._screen, refresh_per_second=2, transient=True
        ) as self.screen:
            yield

    def say(self, text: str) -> None:
        """Write a line, from whatever thread. One that cannot be written, on a full disk for one, is left out."""
        with suppress(OSError):
            self.console.say(text)

    def ready(self) -> None:
        """Ray is up; the clock of the estimate starts."""
        self.began = time.monotonic()

    def trial_started(self, assignment: Assignment) -> None:
        self._count(assignment.cell.name, running=+1)

    def trial_ended(self, assignment: Assignment, outcome: Outcome, seconds: float, count: Count) -> None:
        name = assignment.cell.name
        self.counts[name] = replace(count, running=self.counts[name].running)
        self._count(name, running=-1)
        self.seconds.setdefault(name, []).append(seconds)
        if outcome.status == "failed":
            self.say(f"failed: {assignment.folder}: {last_line(outcome.reason)}")
        if not self.console.is_terminal and time.monotonic() - self.said > PLAIN_SECONDS:
            self.said = time.monotonic()
            self.say(self._line())

    def _count(self, name: str, running: int) -> None:
        count = self.counts[name]
        self.counts[name] = replace(count, running=max(0, count.running + running))

    def _line(self) -> str:
        total = sum(count.total for count in self.counts.values())
        done = sum(count.ended for count in self.counts.values())
        cells = sum(count.left <= 0 for count in self.counts.values())
        lost = sum(count.diverged for count in self.counts.values())
        diverged = f", {lost} diverged" if lost else ""
        left = self._left()
        eta = f", about {duration(left)} left" if left is not None else ""
        return f"{done}/{total} trials, {cells}/{len(self.counts)} cells{diverged}{eta}"

    def _left(self) -> float | None:
        """Seconds to the end, from what trials of each cell took so far; None before the first has ended."""
        everything = [seconds for some in self.seconds.values() for seconds in some]
        if not everything:
            return None
        usual = sum(everything) / len(everything)
        work = 0.0
        for name, count in self.counts.items():
            mine = self.seconds.get(name)
            work += count.left * (sum(mine) / len(mine) if mine else usual)
        return max(0.0, work / self.slots)

    def _screen(self) -> Group:
        table, line = counts_table(self.counts), Text(self._line())
        if not self.console.fits(table):
            return Group(line)
        done = sum(count.ended for count in self.counts.values())
        total = sum(count.total for count in self.counts.values())
        return Group(table, ProgressBar(total=total, completed=done, width=60), line)


def counts_table(counts: Mapping[str, Count]) -> Table:
    """A row a cell."""
    table = Table(box=None, pad_edge=False)
    for title in ("cell", "done", "running", "pruned", "diverged", "failed", "best val."):
        table.add_column(title, justify="left" if title == "cell" else "right")
    for name, count in counts.items():
        none = f"as {count.tuned_at}" if count.tuned_at else "–"
        best = f"{100 * count.best:.1f} %" if count.best is not None else none
        shown = [count.running, count.pruned, count.diverged, count.failed]
        table.add_row(name, f"{count.done}/{count.total}", *(str(n) if n else "·" for n in shown), best)
    return table


def studies_table(studies: Mapping[str, Mapping[str, Count]]) -> Table:
    """A row a study of a collection."""
    table = Table(box=None, pad_edge=False)
    for title in ("study", "cells", "trials", "running", "diverged", "failed"):
        table.add_column(title, justify="left" if title == "study" else "right")
    for name, counts in studies.items():
        if not counts:
            table.add_row(name, "not begun")
            continue
        each = list(counts.values())
        ended, total = sum(count.ended for count in each), sum(count.total for count in each)
        cells = sum(count.left <= 0 for count in each)
        shown = [sum(getattr(count, kind) for count in each) for kind in ("running", "diverged", "failed")]
        table.add_row(name, f"{cells}/{len(each)}", f"{ended}/{total}", *(str(n) if n else "·" for n in shown))
    return table


def price(expected: Total, slots: int | None = None) -> str:
    """What trials cost, in words; its seconds are those that pass on a clock."""
    work = f"{expected.trials:,} trials, {expected.steps:,} training steps, {expected.images:,} images"
    if expected.failure:
        return f"{work}; how long they take is unknown ({expected.failure})"
    at_once = f" with {slots} at once" if slots else ""
    time_ = f"roughly {duration(expected.seconds)}{at_once} (from a few training steps timed here just now)"
    return f"{work}; {time_}"
