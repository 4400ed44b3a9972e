"""Where a study's cells stand, or those of a collection's studies, read without touching what may be running."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from study.directory import CollectionDirectory, Directory
from study.ledger import Ledger
from study.outcome import Count
from study.plan import cells, chosen
from study.storage import Storage, claim, mend, open_database, open_storage


def counts(directory: Directory, readings: str | None = None) -> dict[str, Count]:
    """Where each cell in the `readings` stands, without touching the study, which may be running."""
    spec = directory.spec()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "journal"
        copy.write_bytes(directory.journal.read_bytes() if directory.journal.exists() else b"")
        shared = open_shared(spec.name, directory.identity(None))
        mend(copy)
        ledger = Ledger(shared or open_storage(copy, directory.journal), spec, chosen(cells(spec), readings))
        return {name: cell.count() for name, cell in ledger.cells.items()}


def standing(directory: CollectionDirectory) -> dict[str, dict[str, Count]]:
    """Where each study stands, by name and cell; one not begun has no cells."""
    begun = directory.begun()
    return {name: counts(begun[name]) if name in begun else {} for name in directory.collection().studies}


def open_shared(name: str, identity: Mapping[str, str]) -> Storage | None:
    """The database that the study was given for its search, if it was. Raises Refused if another owns the name."""
    if "storage" not in identity:
        return None
    storage = open_database(identity["storage"])
    claim(storage, name, identity["study_id"])
    return storage
