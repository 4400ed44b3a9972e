"""Running a collection: its studies one after another within one Ray, then one page for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pandas as pd

from study import engine
from study.cost import Total, costs, total
from study.directory import CollectionDirectory, Directory
from study.outcome import Count
from study.patience import MENDED
from study.progress import Display
from study.reports import ReportFiles, collection_reports
from study.run import Failed, Prepared, counts, open_store, prepare, run, write_reports
from study.spec import Collection, Resources, Spec
from study.store import Store
from trainables.errors import Refused


def run_all(
    collection: Collection, studies: Mapping[str, Spec], directory: CollectionDirectory, machine: engine.Machine,
    tracking_uri: str | None, display: Callable[[str, Resources], Display], storage: str | None = None,
    readings: str | None = None, *, take_over: bool = False,
) -> list[ReportFiles]:  # fmt: skip
    """Run or resume every study that is not complete, then write the collection's reports; returns them.

    A study that fails does not keep the others from running. Raises Refused before anything is stored, Interrupted
    after Ctrl-C, Failed at the end when studies failed.
    """
    directory.check(collection, studies)
    shared, asked = Prepared(), readings_of(studies, readings)
    for name, spec in studies.items():
        with _about(name):
            prepare(spec, machine, shared, asked[name])
    failures: dict[str, str] = {}
    say = display(collection.name, Resources()).say
    with directory.owned(collection, studies, say, take_over=take_over):
        left = {name: spec for name, spec in studies.items() if not complete(directory.study(name), spec, asked[name])}
        largest = max((spec.resources for spec in left.values()), key=lambda each: each.cpus, default=Resources())
        view = display(collection.name, largest)
        view.studies(len(studies), len(left))
        if left:
            view.cost(outlook(left, asked, directory, machine, shared))
            with engine.connected(shared.data.values(), [spec.resources for spec in left.values()], machine):
                for name, spec in left.items():
                    try:
                        view = display(name, spec.resources)
                        run(
                            spec, directory.study(name), machine, tracking_uri, view, shared, storage, asked[name],
                            take_over=take_over,
                        )  # fmt: skip
                    except (Failed, Refused) as error:
                        failures[name] = str(error)
        reports = write_collection_reports(directory)
    if failures:
        each = "\n".join(f"{name}: {reason}" for name, reason in failures.items())
        raise Failed(f"{len(failures)} of {len(studies)} studies failed\n{each}", MENDED)
    return reports


def readings_of(studies: Mapping[str, Spec], readings: str | None) -> dict[str, str | None]:
    """The readings asked of each study, those of the names that it has. Raises Refused for a name that none has."""
    if readings in (None, "all", "none"):
        return dict.fromkeys(studies, readings)
    names = str(readings).split(",")
    known = list(dict.fromkeys(name for spec in studies.values() for name in spec.readings))
    for name in names:
        if name not in known:
            remedy = f"all, none, or some of {', '.join(known)}"
            raise Refused("--readings", name, "is no reading of these studies", remedy)
    return {
        study: ",".join(name for name in names if name in spec.readings) or "none" for study, spec in studies.items()
    }


def complete(directory: Directory, spec: Spec, readings: str | None = None) -> bool:
    """Whether this very study has ended in the readings asked for, its report included: its store says so.

    Where that says nothing of these readings, as a store of format 1 does not of any, all their trials must have ended,
    and each cell's run must have been closed since.
    """
    if not directory.spec_file.is_file() or directory.spec() != spec:
        return False
    try:
        store = open_store(spec.name, directory, directory.identity(None))
    except Refused:
        return False  # running the study will say what is wrong
    stated = store.standing().complete
    if stated or (stated is False and readings in (None, "all")):
        return stated
    asked = counts(directory, readings)
    closed = {name for name, summary in store.summaries().items() if summary.end.status == "complete"}
    return all(count.left <= 0 for count in asked.values()) and closed >= asked.keys()


def outlook(
    studies: Mapping[str, Spec],
    asked: Mapping[str, str | None],
    directory: CollectionDirectory,
    machine: engine.Machine,
    shared: Prepared,
) -> Total:
    """What the trials that are left cost."""
    left = Total()
    for name, spec in studies.items():
        plan, splits = prepare(spec, machine, shared, asked[name])
        study = directory.study(name)
        found = counts(study) if study.spec_file.is_file() else {}
        each = costs(spec, plan, splits, shared.speed)
        ended = {name: count.ended for name, count in found.items()}
        left += total(each, [cost.trials - ended.get(cell.name, 0) for cell, cost in zip(plan, each, strict=True)])
    return left


def write_collection_reports(directory: CollectionDirectory) -> list[ReportFiles]:
    """Every installed report of the collection, from the studies that came so far as to name their cells."""
    collection = directory.collection()
    found = {name: store for name, store in stores(directory).items() if store.study().cells}
    return [
        report(found, collection.claims, collection.name, collection.question, directory.report)
        for report in collection_reports()
    ]


def stores(directory: CollectionDirectory, tracking_uri: str | None = None) -> dict[str, Store]:
    """The stores of the studies that were begun, by name. Raises Refused when they are elsewhere."""
    return {name: open_store(name, study, study.identity(tracking_uri)) for name, study in directory.begun().items()}


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


def standing(directory: CollectionDirectory) -> dict[str, dict[str, Count]]:
    """Where each study stands, by name and cell; one not begun has no cells."""
    begun = directory.begun()
    return {name: counts(begun[name]) if name in begun else {} for name in directory.collection().studies}


@contextmanager
def _about(study: str) -> Iterator[None]:
    """A refusal inside names the study."""
    try:
        yield
    except Refused as refused:
        raise refused.under(study) from None
