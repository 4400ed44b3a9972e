"""What each cell's search settled on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.results import Results
from reports.tables.gap import Row, marks
from reports.tables.sheet import Column, Sheet
from reports.tables.words import NONE, value


@dataclass(frozen=True)
class Tuned:
    """The searched keys of all cells, and a value for each of them by cell: as the confirm trials ran."""

    keys: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


def tuned(results: Results) -> Tuned:
    """Keys in the order in which cells first search them."""
    keys = tuple(dict.fromkeys(key for cell in results.cells for key in results.searched.get(cell, ())))
    return Tuned(keys, {cell: tuple(_value(results, cell, key) for key in keys) for cell in results.cells})


def sheet(table: Tuned, rows: Sequence[Row]) -> Sheet:
    """As it stands on the page, in the order of the gap table's `rows`."""
    keys = tuple(Column(key.replace("/", "/\N{ZERO WIDTH SPACE}")) for key in table.keys)
    return Sheet(
        "tuned",
        "Tuned hyperparameters: what each cell's search settled on and its confirm seeds ran with.",
        (Column("arm", number=False), Column("batch size"), *keys),
        tuple((row.arm, str(row.batch_size), *table.values[row.cell]) for row in rows),
        marks=marks(rows),
    )


def _value(results: Results, cell: str, key: str) -> str:
    confirm = results.confirmed[results.confirmed["cell"] == cell]
    if key not in results.searched.get(cell, ()) or key not in confirm or confirm[key].isna().all():
        return NONE
    return value(confirm[key].dropna().iloc[-1])
