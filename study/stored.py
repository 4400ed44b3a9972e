"""What studies have stored, and the reports on it: for all that reads, and for the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from study.cell_name import RECORD, CellName
from study.directory import CollectionDirectory, Directory
from study.findings import Findings
from study.reports import ReportFiles, collection_reports, study_reports
from study.statistics import counting, in_reading, trained
from study.store import Store, default_uri


def open_store(name: str, directory: Directory, identity: Mapping[str, str], *, create: bool = False) -> Store:
    """The study's store, at its tracking server or in its directory."""
    uri = identity.get("tracking_uri") or default_uri(directory.path)
    return Store(uri, name, create=directory.path if create else None, study_id=identity.get("study_id"))


def write_reports(store: Store, directory: Directory) -> list[ReportFiles]:
    """Write every installed report of the study."""
    return [report(store, directory.report) for report in study_reports()]


def findings(store: Store, trials: pd.DataFrame) -> Findings:
    """What the study's trials of record, of all its `trials`, say. Raises Refused without a baseline."""
    about = store.study()
    return Findings(
        trials=in_reading(trials, RECORD),
        cells=tuple(cell for cell in about.cells if CellName.parse(cell).reading == RECORD),
        baseline=about.baseline,
        margin=about.margin,
        looked=store.standing().looked,
    )


def present(store: Store, question: str, reports: Sequence[ReportFiles]) -> None:
    """The question, the answer and the first report's page, where MLflow's UI opens."""
    answer: list[str] = []
    if not (trials := store.trials()).empty and trained(trials):
        told = findings(store, trials).answer
        answer = [told.sentence, told.doubt]
    store.present(question, answer, reports[0].page if reports else None)


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


def table(store: Store) -> pd.DataFrame:
    """Every trial of a study; `counts` says, of a store of any age, whether its test accuracy is in the gap table."""
    trials = store.trials()
    if "phase" in trials:
        trials = trials.drop(columns="counts", errors="ignore")
        trials.insert(list(trials).index("phase") + 1, "counts", counting(trials))
    return trials


def tables(directory: CollectionDirectory, tracking_uri: str | None) -> pd.DataFrame:
    """Every trial of every study, its study's name in the first column."""
    frames = []
    for name, store in stores(directory, tracking_uri).items():
        trials = table(store)
        trials.insert(0, "study", name)
        frames.append(trials)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"study": []})
