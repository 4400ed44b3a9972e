"""The search beside what it led to: equal budgets, the winner's curse, alarms at the ends of ranges, its own luck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from reports.numerics.spread import luck
from reports.results import Results
from reports.tables.sheet import Column, Sheet
from reports.tables.words import NONE, percent
from study.statistics import arm_of, batch_size_of, winners_curse

STATES = ("complete", "pruned", "diverged", "failed", "running")


@dataclass(frozen=True)
class Searched:
    """A cell's search as the page shows it; accuracies in %."""

    arm: str
    batch_size: int
    opens: bool  # the first row of its arm
    trials: str  # ended of the budget
    ended: str  # how they ended
    best: str  # validation accuracy of the best search trial
    curse: str  # that minus the confirm trials' mean
    edges: tuple[str, ...]  # where the best lies at the end of its range
    pruning: str
    untried: tuple[str, ...] = ()  # searched choices with the values that no trial had


def searched(results: Results) -> list[Searched]:
    """A row a cell that searches, arms in the spec's order; none for a study of fixed values."""
    rows: list[Searched] = []
    for arm in results.arms:
        for cell in sorted((cell for cell in results.cells if arm_of(cell) == arm), key=batch_size_of):
            trials = results.search[results.search["cell"] == cell]
            if len(trials):
                rows.append(_row(cell, results, trials, opens=not rows or rows[-1].arm != arm))
    return rows


def sheet(rows: Sequence[Searched]) -> Sheet:
    """As it stands on the page."""
    return Sheet(
        "search",
        "Equal budgets: search trials by cell. The winner's curse is the best trial's validation accuracy minus that "
        "of the same configuration on the confirm seeds, in percentage points with its 95 % interval: what the best "
        "of many promised too much.",
        (
            Column("arm", number=False), Column("batch size"), Column("search trials"),
            Column("how they ended", number=False), Column("best validation acc."), Column("winner's curse"),
            Column("at the end of its range", number=False),
        ),
        tuple(
            (row.arm, str(row.batch_size), row.trials, row.ended, row.best, row.curse, "; ".join(row.edges) or NONE)
            for row in rows
        ),
        marks=tuple("opens" if row.opens else "" for row in rows),
    )  # fmt: skip


def _row(cell: str, results: Results, trials: pd.DataFrame, *, opens: bool) -> Searched:
    counts = trials["status"].value_counts()
    summary = results.summaries.get(cell)
    metrics = summary.metrics if summary else {}
    budget, best = (metrics.get(key, math.nan) for key in ("search/trials", "search/val_accuracy"))
    curse = winners_curse(best, results.trials, cell)  # anew, as an old store may hold the intervals of an old version
    ended = int(sum(counts.get(state, 0) for state in STATES[:3]))
    return Searched(
        arm=arm_of(cell),
        batch_size=batch_size_of(cell),
        opens=opens,
        trials=f"{ended} of {budget:.0f}" if budget == budget else str(ended),
        ended=", ".join(f"{counts[state]} {state}" for state in STATES if counts.get(state, 0)),
        best=percent(best, math.nan, math.nan),
        curse=percent(curse.mean, curse.low, curse.high),
        edges=summary.end.boundary if summary else (),
        pruning=(summary.end.pruning if summary else "") or NONE,
        untried=summary.end.untried if summary else (),
    )


def pruning(rows: list[Searched]) -> str:
    """Where trials were stopped early, and where not and why; empty where nothing prunes."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.pruning, []).append(f"{row.arm}/{row.batch_size}")
    if not set(groups) - {"none", NONE}:
        return ""
    if len(groups) == 1:
        return f"{next(iter(groups))} in every cell."
    return "; ".join(f"{text} in {', '.join(cells)}" for text, cells in groups.items()) + "."


def untried(rows: list[Searched]) -> str:
    """Which choices no search trial had, cell by cell; empty where every choice was tried."""
    return "; ".join(f"{row.arm}/{row.batch_size}: {', '.join(row.untried)}" for row in rows if row.untried)


@dataclass(frozen=True)
class Lucky:
    """Repeated searches of one cell: test accuracy of each, and how much of the spread is the search's."""

    cell: str
    searches: tuple[str, ...]
    sentence: str


def lucky(results: Results) -> list[Lucky]:
    """A row a cell that was searched more than once."""
    rows = []
    for cell, repeats in results.repeats.items():
        cells = (cell, *repeats)
        means = [results.confirmed_anywhere[results.confirmed_anywhere["cell"] == each] for each in cells]
        shown = tuple(_mean(each) for each in means)
        rows.append(Lucky(cell, shown, _sentence(results, cells)))
    return rows


def _mean(trials: pd.DataFrame) -> str:
    done = trials[trials["status"] == "complete"]
    if "test/accuracy" not in done or done.empty:
        return NONE
    return percent(float(done["test/accuracy"].mean()), float("nan"), float("nan"))


def _sentence(results: Results, cells: tuple[str, ...]) -> str:
    found = luck(results.confirmed_anywhere, cells)
    if found.between != found.between:
        return f"{found.searches} of {len(cells)} searches can be compared: too few to tell search luck from seed luck."
    return (
        f"Standard deviation of test accuracy, in points: {100 * found.between:.2f} from search to search, "
        f"{100 * found.within:.2f} from seed to seed ({found.searches} searches)."
    )
