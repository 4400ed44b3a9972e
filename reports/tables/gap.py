"""The generalization-gap table: a row a cell."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.results import Results
from reports.tables.words import NONE, percent
from study.collapse import Collapse
from study.intervals import DIFFERENCE, interval
from study.statistics import accuracies


@dataclass(frozen=True)
class Row:
    """A cell as the page shows it; accuracies in %."""

    cell: str
    arm: str
    batch_size: int
    baseline: bool
    opens: bool  # the first row of its arm
    test: str
    gap_batch: str
    gap_train_test: str
    seeds: str  # complete of tried
    search_diverged: str
    confirm_diverged: str
    collapsed: str  # of the complete seeds, with the bound on their rate


def rows(results: Results) -> list[Row]:
    """Arms in the spec's order, batch sizes from small to large."""
    order = {arm: number for number, arm in enumerate(results.arms)}
    table = results.gaps.assign(cell=list(results.cells), order=results.gaps["arm"].map(order))
    table = table.sort_values(["order", "batch_size"])
    opens = ~table["arm"].duplicated()
    return [_row(results, cell, bool(first)) for (_, cell), first in zip(table.iterrows(), opens, strict=True)]


def _row(results: Results, cell: pd.Series, opens: bool) -> Row:
    search = results.search[results.search["cell"] == cell.cell]
    confirm = results.confirmed[results.confirmed["cell"] == cell.cell]
    train_test = interval(
        accuracies(results.trials, results.cells, "gap/train_test")[cell.cell].dropna(), within=DIFFERENCE
    )
    return Row(
        cell=cell.cell,
        arm=cell.arm,
        batch_size=cell.batch_size,
        baseline=cell.cell == results.baseline,
        opens=opens,
        test=percent(cell.test_accuracy, cell.test_low, cell.test_high),
        gap_batch=percent(cell.gap_batch, cell.gap_batch_low, cell.gap_batch_high),
        gap_train_test=percent(train_test.mean, train_test.low, train_test.high),
        seeds=_of(confirm, "complete"),
        search_diverged=_of(search[search["status"] != "running"], "diverged"),
        confirm_diverged=_of(confirm[confirm["status"] != "running"], "diverged"),
        collapsed=_collapsed(next(each for each in results.verdict.collapses if each.cell == cell.cell)),
    )


def _collapsed(collapse: Collapse) -> str:
    """How many, and the highest rate that so many do not exclude: `1 (≤ 66 %)`."""
    return f"{len(collapse.accuracies)} (≤ {100 * collapse.rate_bound:.0f} %)" if collapse.n else NONE


def _of(trials: pd.DataFrame, status: str) -> str:
    return f"{(trials['status'] == status).sum()} of {len(trials)}" if len(trials) else NONE
