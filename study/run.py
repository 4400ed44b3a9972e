"""Running a study: the directory, the store, the engine and the report, in that order."""

from __future__ import annotations

import fcntl
import os
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from study import engine, versions
from study.cell_name import RECORD, CellName
from study.cost import Speed, costs, total
from study.directory import Directory
from study.drivers import database_file
from study.environment import environment, git_commit
from study.fairness import unequal
from study.ledger import Ledger
from study.machine import Machine
from study.owner import REMEDY, Board, checked, owning
from study.patience import GOES_ON, STORED, UNWRITTEN, Gone, Patience, passing
from study.plan import Cell, cells, chosen, load_data, stated
from study.progress import Display
from study.recorder import Recorder
from study.reports import ReportFiles
from study.schema import GAP_METRICS, TRUTH, CellEnd, Standing, Study, TrialEnd
from study.search import CellSearch, pruning
from study.spec import Spec
from study.standing import open_shared
from study.statistics import counting, gap_table, in_reading, own_gaps, winners_curse
from study.storage import OwnersNote, Storage, claim, mend, open_storage
from study.storage import passes as storage_passes
from study.store import OwnersTag, Store, passes, reach
from study.stored import open_store, present, write_reports
from study.text import last_line
from study.work import Interrupted, Work, interruptible
from trainables.data import Splits
from trainables.errors import Refused, masked
from trainables.train import resolve_device
from trainables.tree import flatten


class Failed(Exception):
    """Something in the study failed; the rest is there. `then` says what next."""

    def __init__(self, message: str, then: str = GOES_ON) -> None:
        super().__init__(message)
        self.then = then


@dataclass(frozen=True)
class Prepared:
    """What studies that run one after another share: data sets that were read, and how fast this machine is."""

    data: dict[str, Splits] = field(default_factory=dict)
    speed: Speed = field(default_factory=Speed)


def prepare(
    spec: Spec, machine: Machine, shared: Prepared, folder: Path, readings: str | None = None
) -> tuple[list[Cell], dict[str, Splits]]:
    """The study's cells in the `readings` asked for, and data. Raises Refused where it could not run in `folder`."""
    plan = chosen(cells(spec), readings)
    splits = load_data(plan, shared.data)
    engine.check(spec.resources, machine, folder)
    if machine.address is None:
        for cell in plan:
            resolve_device(cell.typical.device)
    return plan, splits


def run(
    spec: Spec, directory: Directory, machine: Machine, tracking_uri: str | None, display: Display,
    shared: Prepared | None = None, storage: str | None = None, readings: str | None = None, *, take_over: bool = False,
) -> tuple[Store, list[ReportFiles]]:  # fmt: skip
    """Run or resume the study until every cell has its trials, then write gaps and reports; returns store and reports.

    `readings`: those to run beside the reading of record (`study.plan.chosen`); the others wait for another run.
    `take_over`: from another driver that runs it, dead or alive.

    Raises Refused before anything is stored, Interrupted after Ctrl-C, Failed when trials failed.
    """
    shared = shared or Prepared()
    directory.check(spec)
    whole = cells(spec)
    plan, splits = prepare(spec, machine, shared, directory.path, readings)
    with (
        directory.owned(spec, display.say, take_over=take_over) as own,
        _as_one_message(directory),
        interruptible(),
        ExitStack() as stack,
    ):
        identity = directory.identity(tracking_uri, storage)
        starting = stack.enter_context(_alone_in(identity))
        database = open_shared(spec.name, identity)
        if uri := identity.get("tracking_uri"):
            reach(uri, spec.name, identity["study_id"])
        directory.begin(identity)
        store = open_store(spec.name, directory, identity, create=True)
        results = Patience(f"the MLflow store at {store.uri}", passes, display.say, file=store.database)
        ledger = Ledger(database or _mended(directory.journal), spec, plan)
        if database is not None:
            claim(database, spec.name, identity["study_id"])
        starting.close()
        boards = shared_boards(spec.name, identity, database, store)
        check = checked([own, *(stack.enter_context(owning(
            board, own.me, partial(_at_work, spec.name, place), display.say, take_over=take_over
        )) for place, board in boards.items())])  # fmt: skip
        looked = results.retry(lambda: looked_at(directory, spec, store.standing()))
        # Once nothing refuses any more, and before a larger budget is accepted.
        results.retry(lambda: store.describe(Standing(complete=False, looked=looked)))
        tell_top_up(directory, spec, display.say)
        directory.accept(spec)
        former = versions.recorded(results.retry(store.study))
        trained_by = former if ledger.done else versions.joined(former, versions.installed())
        if not ledger.done and (news := versions.news(former, versions.installed())):
            display.say(news)
        results.retry(lambda: store.describe(described(spec, whole, trained_by)))
        if not ledger.done:
            results.retry(lambda: store.present(spec.question, ["The study is under way."]))
        recorder = results.retry(lambda: Recorder(store, ledger, git_commit(), results, check))
        place = identity["storage"] if database else str(directory.journal)
        file = database_file(place) if database else None
        search = Patience(f"the search's storage {place}", storage_passes, display.say, file=file)
        work = Work(ledger, recorder, display, search, directory.trials, check)
        if not ledger.done:
            standing = {name: cell.count() for name, cell in ledger.cells.items()}
            left = [count.left for count in standing.values()]
            each = costs(spec, plan, splits, shared.speed)
            display.cost(total(each, left), {cell.name: cost.seconds for cell, cost in zip(plan, each, strict=True)})
            with display.live(standing):
                engine.run(work, splits, spec.resources, directory.trials, machine, display.ready)
        work.close()
        if work.busy:
            share = f"{100 * work.share:.0f} % of the slots' time"
            display.say(f"training and evaluation took {share}; the rest went into starting, waiting and storing")
            results.retry(lambda: store.describe(Standing(busy=round(work.share, 3))))
        results.retry(lambda: summarise(spec, plan, ledger, store))
        reports = _write_patiently(store, directory, display)
        results.retry(lambda: present(store, spec.question, reports))
        if len(plan) == len(whole) and not any(cell.count().left > 0 for cell in ledger.cells.values()):
            results.retry(lambda: store.describe(Standing(complete=True)))
    if work.failures:
        folder, reason = work.failures[0]
        raise Failed(
            f"{len(work.failures)} trials failed, first {folder}: {last_line(reason)} (all of it in its tag `reason`)"
        )
    if not work.complete:
        raise Interrupted
    return store, reports


def looked_at(directory: Directory, spec: Spec, standing: Standing) -> int | None:
    """How many confirm seeds were there to be looked at before the study was given more; None where it never was."""
    if standing.complete and directory.spec_file.is_file():
        before = directory.spec().confirm.seeds
        if before < spec.confirm.seeds:
            return before
    return standing.looked


def tell_top_up(directory: Directory, spec: Spec, say: Callable[[str], None]) -> None:
    """Say what a larger budget than the study has had so far means for what there is."""
    if not directory.spec_file.is_file():
        return
    before = directory.spec()
    if before.search.trials < spec.search.trials:
        rule = "a cell's confirm trials count on where its longer search finds nothing better, else they are run anew"
        say(f"search/trials {before.search.trials} → {spec.search.trials}: {rule}")
    if before.confirm.seeds < spec.confirm.seeds:
        rule = "those that are there stay; if they were looked at, the new ones alone decide"
        say(f"confirm/seeds {before.confirm.seeds} → {spec.confirm.seeds}: {rule}")


@contextmanager
def _alone_in(identity: Mapping[str, str]) -> Iterator[ExitStack]:
    """Whoever starts on the same SQLite files waits until this is closed, for their tables can be made only once."""
    files = (database_file(identity.get(key, "")) for key in ("tracking_uri", "storage"))
    with ExitStack() as stack:
        for folder in sorted({file.resolve().parent for file in files if file is not None}):
            with suppress(OSError):  # some network file systems lock no folders
                opened = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, opened)
                fcntl.flock(opened, fcntl.LOCK_EX)
        yield stack


def shared_boards(
    name: str, identity: Mapping[str, str], database: Storage | None, store: Store
) -> dict[str, Board]:  # fmt: skip
    """Where the study's owner is known beyond its directory, by the place as the user knows it."""
    boards: dict[str, Board] = {}
    if database is not None:
        boards[identity["storage"]] = OwnersNote(database, name)
    if "tracking_uri" in identity:
        boards[store.uri] = OwnersTag(store)
    return boards


def _at_work(name: str, place: str, rule: str) -> Refused:
    return Refused("name", name, f"{rule} (so says {place})", REMEDY)


@contextmanager
def _as_one_message(directory: Directory) -> Iterator[None]:
    """Whatever ends the run becomes one message; the traceback is kept in the directory."""
    try:
        yield
    except (Refused, KeyboardInterrupt):
        raise
    except Gone as gone:
        raise Failed(f"the run stopped: {gone}", gone.then) from None
    except Exception as error:
        log = directory.path / "error.log"
        log.write_text(masked(traceback.format_exc()))
        reason = f"{type(error).__name__}: {last_line(str(error))} (all of it in {log})"
        raise Failed(f"the run stopped: {reason}", f"{STORED} The same command tries again.") from None


def summarise(spec: Spec, plan: Sequence[Cell], ledger: Ledger, store: Store) -> None:
    """The gap metrics onto each cell's run; confirm trials of a configuration that a top-up beat are marked."""
    trials = store.trials()
    if trials.empty:
        return
    if beaten := _superseded(ledger, trials):
        for run_id in beaten:
            store.tag(run_id, TrialEnd(superseded=True))
        trials = store.trials()
    _tag_what_counts(store, trials)
    rows = _gaps(spec, plan, trials)
    known = store.runs("tags.phase = 'cell'")
    store.delete_doubles()
    for name, cell in ledger.cells.items():
        count, row = cell.count(), rows.get(name, {})
        metrics = {
            key: float(row[column])
            for column, key in GAP_METRICS.items()
            if column in row and row[column] == row[column]
        }
        metrics |= {"trials/diverged": float(count.diverged), "trials/done": float(count.done),
                    "trials/pruned": float(count.pruned), "search/trials": float(cell.budgets[-1])}  # fmt: skip
        metrics |= _search_metrics(cell, trials) | _found(cell)
        end = CellEnd(
            status="running" if count.left else "complete",
            gap="defined" if "gap/batch" in metrics else "undefined",
            boundary=count.edges,
            pruning=pruning(spec, cell.cell),
            untried=count.untried,
            broken=count.broken,
        )
        store.close(store.reopen(known[name, "cell", ""]), end, metrics, ok=True)


def _tag_what_counts(store: Store, trials: pd.DataFrame) -> None:
    """Where the tag `counts` is not what the gap table says: of superseded trials, and in a store older than it."""
    known = trials["counts"] if "counts" in trials else pd.Series(index=trials.index, dtype=object)
    for run_id, counts, text in zip(trials["run_id"], counting(trials), known, strict=True):
        if text != TRUTH.write(counts):
            store.tag(str(run_id), TrialEnd(counts=bool(counts)))


def _gaps(spec: Spec, plan: Sequence[Cell], trials: pd.DataFrame) -> dict[str, dict[Hashable, Any]]:
    """Each cell's row of its reading's gap table, by the cell's name."""
    rows: dict[str, dict[Hashable, Any]] = {}
    for reading in dict.fromkeys(cell.reading for cell in plan):
        names = [CellName(cell.arm, cell.batch_size) for cell in plan if cell.reading == reading and not cell.repeat]
        here, order = in_reading(trials, reading), list(map(str, names))
        table = gap_table(here, spec.baseline_in(RECORD), order)
        table = table.assign(gap_own=list(own_gaps(here, order).values()))
        twins = (str(replace(name, reading=reading)) for name in names)
        rows |= dict(zip(twins, table.to_dict("records"), strict=True))
    return rows


def _superseded(ledger: Ledger, trials: pd.DataFrame) -> list[str]:
    """The runs of confirm trials whose configuration is no longer the cell's best."""
    beaten: list[str] = []
    for name, cell in ledger.cells.items():
        current = {assignment.config.hash() for assignment in cell.confirm()}
        mine = trials[(trials["cell"] == name) & (trials["phase"] == "confirm")]
        if current:
            beaten += mine.loc[~mine["config_hash"].isin(current), "run_id"].astype(str).to_list()
    return beaten


def _search_metrics(cell: CellSearch, trials: pd.DataFrame) -> dict[str, float]:
    """What the search promised and what fresh seeds gave: the winner's curse."""
    best = cell.best()
    if best is None or best.value is None:
        return {}
    curse = winners_curse(best.value, trials, cell.cell.name)
    found = {"search/val_accuracy": best.value, "gap/winner": curse.mean, "gap/winner_low": curse.low,
             "gap/winner_high": curse.high}  # fmt: skip
    return {key: value for key, value in found.items() if value == value}


def _found(cell: CellSearch) -> dict[str, float]:
    """The numbers that a cell's search, or that of the cell it is tuned at, found."""
    confirmed = cell.confirm()
    values = confirmed[0].config.flat() if confirmed else {}
    found = {f"best/{key}": value for key, value in values.items() if key in cell.cell.open}
    return {key: float(value) for key, value in found.items() if type(value) in (int, float)}


def _write_patiently(store: Store, directory: Directory, display: Display) -> list[ReportFiles]:
    """As `write_reports`, and where either is away, with the right name: the store that is read, or the disk."""
    reading = Patience(f"the MLflow store at {store.uri}", lambda e: passes(e) and not passing(e), display.say)
    writing = Patience(f"the report in {directory.report}", passing, display.say, words=UNWRITTEN)
    return writing.retry(lambda: reading.retry(lambda: write_reports(store, directory)))


def _mended(journal: Path) -> Storage:
    mend(journal)
    return open_storage(journal)


def described(spec: Spec, plan: Sequence[Cell], trained_by: Sequence[versions.Versions] = ()) -> Study:
    """What the store says of the study; `trained_by`: the versions that took part in it."""
    return Study(
        question=spec.question,
        claims=spec.claims,
        baseline=spec.baseline_in(RECORD),
        cells=tuple(cell.name for cell in plan if not cell.repeat),
        readings={RECORD: stated(spec)} | {name: dict(flatten(sets)) for name, sets in spec.readings.items()},
        repeats=tuple(cell.name for cell in plan if cell.repeat),
        margin=spec.confirm.margin,
        unequal=unequal(cell for cell in plan if cell.reading == RECORD),
        spec=spec.dump(),
        versions=tuple(trained_by),
        environment=environment() | {"search seed": spec.search.seed, "confirm seeds": f"0–{spec.confirm.seeds - 1}"},
    )


def refuse_relative_in_job(directory: Path) -> None:
    """Raises Refused for a study that would live in a Ray job's temporary folder."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not directory.is_absolute():
        raise Refused(
            "--dir", str(directory), "inside a Ray job the working folder is temporary and the study would be lost",
            "give an absolute --dir on storage that outlives the job",
        )  # fmt: skip
