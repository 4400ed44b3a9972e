"""What each cell took: what was spent on it, and how long its seeds needed to reach the study's target."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from reports import effort
from reports.claims import Missing
from reports.claims.shared.evidence import images
from reports.figures.curves import NAMES
from reports.results import Results
from reports.tables.gap import Row, marks
from reports.tables.sheet import Column, Sheet
from reports.tables.words import NONE, number, percent
from study.text import duration

RESIZING = ("trick/first_epoch/", "trick/grow/")  # the batch is not the cell's own in all epochs


def sheet(results: Results, rows: Sequence[Row]) -> Sheet | None:
    """In the order of the gap table's `rows`; None where no seed of the baseline is complete."""
    aim = effort.target(results)
    if math.isnan(aim):
        return None
    usual = {str(each["cell"]): each for each in effort.usual(effort.reached(results)).to_dict("records")}
    share, level = f"{100 * effort.SHARE:.0f} %", percent(aim, aim, aim)
    what = f"{share} of what the baseline cell ends at, {level} % {NAMES[results.curve_metric]}"
    return Sheet(
        "effort",
        f"What it took, and how long half of a cell's seeds needed to reach {what}.",
        (
            Column("arm", number=False), Column("batch size"), Column("trained", "search"),
            Column("trained", "confirm"), Column("reached by"), Column("epochs"), Column("steps"), Column("images"),
            Column("time", "one seed"),
        ),
        tuple(_row(results, row, usual) for row in rows),
        marks=marks(rows),
    )  # fmt: skip


def _row(results: Results, row: Row, usual: Mapping[str, Mapping[Hashable, Any]]) -> tuple[str, ...]:
    spent = (_spent(results, row.cell, phase) for phase in ("search", "confirm"))
    took = usual.get(row.cell)
    if took is None:
        return (row.arm, str(row.batch_size), *spent, *[NONE] * 5)
    of = f"{took['there']} of {took['seeds']}"
    if math.isnan(took["epoch"]):
        return (row.arm, str(row.batch_size), *spent, of, *[NONE] * 4)
    epochs, seconds = int(took["epoch"]), float(took["seconds"])
    steps, seen = _steps_and_images(results, row, epochs)
    return (row.arm, str(row.batch_size), *spent, of, str(epochs), steps, seen, _time(seconds))


def _steps_and_images(results: Results, row: Row, epochs: int) -> tuple[str, str]:
    """Steps are unknown where a trick changes the batch on the way."""
    with suppress(Missing):
        whole = images(results)
        here = results.confirmed[results.confirmed["cell"] == row.cell]
        columns = [column for column in here if str(column).startswith(RESIZING)]
        own = whole // row.batch_size
        if here[columns].isna().all(axis=None):
            return f"{epochs * own:,}", f"{epochs * own * row.batch_size:,}"
        return NONE, f"{epochs * whole:,}"
    return NONE, NONE


def _spent(results: Results, cell: str, phase: str) -> str:
    """Seconds that its trials trained, as far as they say."""
    here = results.trials[(results.trials["cell"] == cell) & (results.trials["phase"] == phase)]
    known = here["time/trial_seconds"].dropna() if "time/trial_seconds" in here else pd.Series(dtype=float)
    return _time(float(known.sum())) if len(known) else NONE


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return NONE
    return duration(seconds) if seconds >= 10 else f"{number(seconds)} s"
