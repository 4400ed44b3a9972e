"""What studies have stored, and the reports on it: for all that reads, and for the end of a run."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from study.directory import CollectionDirectory, Directory
from study.reports import ReportFiles, collection_reports, study_reports
from study.store import Store, default_uri


def open_store(name: str, directory: Directory, identity: Mapping[str, str], *, create: bool = False) -> Store:
    """The study's store, at its tracking server or in its directory."""
    uri = identity.get("tracking_uri") or default_uri(directory.path)
    return Store(uri, name, create=directory.path if create else None, study_id=identity.get("study_id"))


def write_reports(store: Store, directory: Directory) -> list[ReportFiles]:
    """Write every installed report of the study."""
    return [report(store, directory.report) for report in study_reports()]


def stores(directory: CollectionDirectory, tracking_uri: str | None = None) -> dict[str, Store]:
    """The stores of the studies that were begun, by name. Raises Refused when they are elsewhere."""
    return {name: open_store(name, study, study.identity(tracking_uri)) for name, study in directory.begun().items()}


def write_collection_reports(directory: CollectionDirectory) -> list[ReportFiles]:
    """Every installed report of the collection, from the studies that came so far as to name their cells."""
    collection = directory.collection()
    found = {name: store for name, store in stores(directory).items() if store.study().cells}
    return [
        report(found, collection.claims, collection.name, collection.question, directory.report)
        for report in collection_reports()
    ]


def rewrite(directory: CollectionDirectory, tracking_uri: str | None) -> list[ReportFiles]:
    """Write each study's reports again, and the collection's; returns the collection's."""
    for name, store in stores(directory, tracking_uri).items():
        write_reports(store, directory.study(name))
    return write_collection_reports(directory)


def table(directory: CollectionDirectory, tracking_uri: str | None) -> pd.DataFrame:
    """Every trial of every study, its study's name in the first column."""
    frames = []
    for name, store in stores(directory, tracking_uri).items():
        trials = store.trials()
        trials.insert(0, "study", name)
        frames.append(trials)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"study": []})
