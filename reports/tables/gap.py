"""The generalization-gap table: a row a cell. Points won are positive, points lost negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt
import pandas as pd

from reports.results import Results
from reports.tables.sheet import Column, Sheet
from reports.tables.words import NONE, percent
from study.collapse import Collapse, collapse
from study.intervals import DIFFERENCE, interval
from study.statistics import accuracies, paired, smallest_batch


@dataclass(frozen=True)
class Row:
    """A cell as the page shows it; accuracies in %."""

    cell: str
    arm: str
    batch_size: int
    baseline: bool
    opens: bool  # the first row of its arm
    test: str
    learned: str  # how many seeds ended at chance; empty for none
    against_baseline: str  # its test accuracy minus the baseline's
    against_own: str  # minus that of the arm's own cell at its smallest batch size
    test_train: str  # minus its training accuracy
    seeds: str  # complete of tried
    search_diverged: str
    confirm_diverged: str
    collapsed: str  # of the complete seeds, with the bound on their rate


def rows(results: Results) -> list[Row]:
    """Arms in the spec's order, batch sizes from small to large."""
    order = {arm: number for number, arm in enumerate(results.arms)}
    table = results.gaps.assign(cell=list(results.cells), order=results.gaps["arm"].map(order))
    table = table.sort_values(["order", "batch_size"])
    test = accuracies(results.trials, results.cells)
    train_test = accuracies(results.trials, results.cells, "gap/train_test")
    smallest = smallest_batch(results.cells)
    rows = []
    for _, cell in table.iterrows():
        own = smallest[cell.cell]
        won: npt.ArrayLike = paired(test[cell.cell], test[own]) if cell.cell != own else []
        seeds = collapse(cell.cell, test[cell.cell].dropna())
        rows.append(_row(results, cell, won, -train_test[cell.cell].dropna(), seeds, opens=cell.cell == own))
    return rows


def sheet(results: Results, rows: Sequence[Row]) -> Sheet:
    """As it stands on the page."""
    return Sheet(
        "gap-table",
        "Test accuracy in %, and differences in percentage points: points won are positive, points lost negative. "
        "Mean and 95 % interval over complete confirm seeds.",
        (
            Column("arm", number=False), Column("batch size"), Column("test accuracy"),
            Column(f"against {results.baseline}"), Column("against its own", "smallest batch"), Column("test − train"),
            Column("complete", "seeds"), Column("collapsed", "(rate below)"), Column("diverged", "search"),
            Column("diverged", "confirm"),
        ),
        tuple(
            (f"{row.arm}\nbaseline" if row.baseline else row.arm, str(row.batch_size),
             f"{row.test}\n{row.learned}".strip(), row.against_baseline, row.against_own, row.test_train, row.seeds,
             row.collapsed, row.search_diverged, row.confirm_diverged)
            for row in rows
        ),
        marks=marks(rows),
    )  # fmt: skip


def marks(rows: Sequence[Row]) -> tuple[str, ...]:
    """How each row looks."""
    return tuple(" ".join(name for name in ("opens", "baseline") if getattr(row, name)) for row in rows)


def _row(
    results: Results, cell: pd.Series, won: npt.ArrayLike, test_train: npt.ArrayLike, seeds: Collapse, *, opens: bool
) -> Row:
    search = results.search[results.search["cell"] == cell.cell]
    confirm = results.confirmed[results.confirmed["cell"] == cell.cell]
    return Row(
        cell=cell.cell,
        arm=cell.arm,
        batch_size=cell.batch_size,
        baseline=cell.cell == results.baseline,
        opens=opens,
        test=percent(cell.test_accuracy, cell.test_low, cell.test_high),
        learned=_learned(results, cell.cell),
        against_baseline=percent(*(0 - cell[each] for each in ("gap_batch", "gap_batch_high", "gap_batch_low"))),
        against_own=_difference(won),
        test_train=_difference(test_train),
        seeds=_of(confirm, "complete"),
        search_diverged=_of(search[search["status"] != "running"], "diverged"),
        confirm_diverged=_of(confirm[confirm["status"] != "running"], "diverged"),
        collapsed=_collapsed(seeds),
    )


def _learned(results: Results, cell: str) -> str:
    lost, seeds = results.unlearned.get(cell, (0, 0))
    return "" if not lost else "did not learn" if lost == seeds else f"{lost} of {seeds} did not learn"


def _difference(values: npt.ArrayLike) -> str:
    estimate = interval(values, within=DIFFERENCE)
    return percent(estimate.mean, estimate.low, estimate.high)


def _collapsed(collapse: Collapse) -> str:
    """How many, and the highest rate that so many do not exclude: `1 (≤ 66 %)`."""
    return f"{len(collapse.accuracies)} (≤ {100 * collapse.rate_bound:.0f} %)" if collapse.n else NONE


def _of(trials: pd.DataFrame, status: str) -> str:
    return f"{(trials['status'] == status).sum()} of {len(trials)}" if len(trials) else NONE
