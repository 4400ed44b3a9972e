"""What a person sees of a running study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
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
    """Cells, trials, best so far and the time left.

    `slots`: trials at once; None where a cluster decides, until `ready` says.
    """

    def __init__(self, console: PlainConsole, name: str, slots: int | None) -> None:
        self.console, self.name, self.slots = console, name, slots
        self.counts: dict[str, Count] = {}
        self.seconds: dict[str, list[float]] = {}  # that trials which ended here trained, by cell
        self.expected: Mapping[str, float] = {}  # seconds of a trial of each cell, as estimated beforehand
        self.began = self.said = time.monotonic()
        self.screen: Live | None = None
        self.started = False

    def studies(self, total: int, left: int) -> None:
        """Say how many studies of a collection are not complete."""
        self.say(f"{self.name}: {total} studies, {left} to run")

    def cost(self, expected: Total, each: Mapping[str, float] | None = None) -> None:
        """Say what a long run would take, before it starts; `each`: seconds of a trial of each cell."""
        self.expected = {name: one for name, one in (each or {}).items() if one > 0}
        seconds = expected.seconds / (self.slots or 1)
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
        at_once = f"{self.slots} at once" if self.slots else "as many at once as the cluster has room for"
        self.say(f"{self.name}: {len(counts)} cells, {total} trials, {todo} to run, {at_once}")
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

    def ready(self, slots: int) -> None:
        """Ray is up, with so many slots; the clock of the estimate starts."""
        if slots != self.slots:
            self.say(f"{slots} at once")
        self.slots, self.began = slots, time.monotonic()

    def trial_started(self, assignment: Assignment) -> None:
        self._count(assignment.cell.name, running=+1)

    def trial_stopped(self, assignment: Assignment) -> None:
        """Its slot is free; it ends once the store holds all of it."""
        self._count(assignment.cell.name, running=-1)

    def trial_ended(self, assignment: Assignment, outcome: Outcome, seconds: float, count: Count) -> None:
        name = assignment.cell.name
        self.counts[name] = replace(count, running=self.counts[name].running)
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
        gone = f", {duration(time.monotonic() - self.began)} gone"
        left = self._left()
        eta = f", about {duration(left)} left" if left is not None else ""
        return f"{done}/{total} trials, {cells}/{len(self.counts)} cells{diverged}{gone}{eta}"

    def _left(self) -> float | None:
        """Seconds to the end, None before the first trial has ended: as the work of all that is left to what is done.

        A trial's work is what those of its cell took, else what it was estimated to take, as far as that was right for
        others; one that runs is half done.
        """
        done = left = 0.0
        for name, count in self.counts.items():
            work, ended = self._work(name), len(self.seconds.get(name, ()))
            done += work * (ended + count.running / 2)
            left += work * max(0.0, count.left - count.running / 2)
        return left / done * (time.monotonic() - self.began) if self.seconds and done else None

    def _work(self, name: str) -> float:
        """Seconds of a trial of the cell."""
        if mine := self.seconds.get(name):
            return sum(mine) / len(mine)
        everything = [(cell, seconds) for cell, some in self.seconds.items() for seconds in some]
        known = [(self.expected[cell], seconds) for cell, seconds in everything if cell in self.expected]
        if name in self.expected and known:
            return self.expected[name] * sum(took for _, took in known) / sum(foretold for foretold, _ in known)
        return sum(seconds for _, seconds in everything) / max(1, len(everything))

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
    kinds = _present(counts.values(), "running", "pruned", "diverged", "failed")
    for title in ("cell", "done", *kinds, "best val."):
        table.add_column(title, justify="left" if title == "cell" else "right")
    for name, count in counts.items():
        none = f"as {count.tuned_at}" if count.tuned_at else "–"
        best = f"{100 * count.best:.1f} %" if count.best is not None else none
        shown = (getattr(count, kind) for kind in kinds)
        table.add_row(name, f"{count.done}/{count.total}", *(str(n) if n else "·" for n in shown), best)
    return table


def _present(counts: Iterable[Count], *kinds: str) -> list[str]:
    """Those of the kinds that some cell has: no column of zeros."""
    every = list(counts)
    return [kind for kind in kinds if any(getattr(count, kind) for count in every)]


def studies_table(studies: Mapping[str, Mapping[str, Count]]) -> Table:
    """A row a study of a collection."""
    table = Table(box=None, pad_edge=False)
    kinds = _present((count for each in studies.values() for count in each.values()), "running", "diverged", "failed")
    for title in ("study", "cells", "trials", *kinds):
        table.add_column(title, justify="left" if title == "study" else "right")
    for name, counts in studies.items():
        if not counts:
            table.add_row(name, "not begun")
            continue
        each = list(counts.values())
        ended, total = sum(count.ended for count in each), sum(count.total for count in each)
        cells = sum(count.left <= 0 for count in each)
        shown = [sum(getattr(count, kind) for count in each) for kind in kinds]
        table.add_row(name, f"{cells}/{len(each)}", f"{ended}/{total}", *(str(n) if n else "·" for n in shown))
    return table


def price(expected: Total, slots: int | None = None) -> str:
    """What trials cost, in words; its seconds are those that pass on a clock."""
    work = f"{expected.trials:,} trials, {expected.steps:,} training steps, {expected.images:,} images"
    if expected.failure:
        return f"{work}; how long they take is unknown ({expected.failure})"
    at_once = f" with {slots} at once" if slots else ", one after another"
    time_ = f"roughly {duration(expected.seconds)}{at_once} (from a few training steps timed here just now)"
    return f"{work}; {time_}"
