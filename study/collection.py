"""Running a collection: its studies one after another within one Ray, then one page for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from study import engine
from study.cost import Total, costs, total
from study.directory import CollectionDirectory, Directory
from study.machine import Machine
from study.patience import MENDED
from study.plan import readings_of
from study.progress import Display
from study.reports import ReportFiles
from study.run import Failed, Prepared, prepare, run
from study.spec import Collection, Resources, Spec
from study.standing import counts
from study.stored import open_store, write_collection_reports
from trainables.errors import Refused


def run_all(
    collection: Collection, studies: Mapping[str, Spec], directory: CollectionDirectory, machine: Machine,
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
            prepare(spec, machine, shared, directory.path, asked[name])
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
    machine: Machine,
    shared: Prepared,
) -> Total:
    """What the trials that are left cost."""
    left = Total()
    for name, spec in studies.items():
        plan, splits = prepare(spec, machine, shared, directory.path, asked[name])
        study = directory.study(name)
        found = counts(study) if study.spec_file.is_file() else {}
        each = costs(spec, plan, splits, shared.speed)
        ended = {name: count.ended for name, count in found.items()}
        left += total(each, [cost.trials - ended.get(cell.name, 0) for cell, cost in zip(plan, each, strict=True)])
    return left


@contextmanager
def _about(study: str) -> Iterator[None]:
    """A refusal inside names the study."""
    try:
        yield
    except Refused as refused:
        raise refused.under(study) from None
