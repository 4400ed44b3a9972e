"""Storages that fail at any call, before or after it took effect: every study ends, with nothing missing or doubled."""

from __future__ import annotations

import copy
import functools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage

from study import patience
from study.console import PlainConsole
from study.ledger import Ledger
from study.outcome import Outcome
from study.patience import Patience, passing
from study.plan import Assignment, Cell, cells
from study.progress import Display
from study.recorder import Recorder
from study.schema import CellRun, Tags, TrialRun
from study.spec import Spec, load
from study.store import Record
from study.work import Work
from tests.study.simulation import curve, story

SLOTS, ROUNDS = 2, 400
TRIALS = ["search/trials=4", "search/window=2", "confirm/seeds=2", "base/epochs=3"]
PRUNED = [*TRIALS, "search/pruner={name: median, n_startup_trials: 1, n_warmup_steps: 0}"]
FAILURES = st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["before", "after"])), max_size=30)


Failures = Sequence[tuple[int, str]]


class Flaky:
    """A storage whose calls fail where `plan` says: after so many that succeed, before or after it took effect."""

    def __init__(self, target: Any) -> None:
        self.target, self.failures = target, iter(())

    def plan(self, failures: Failures) -> None:
        self.failures = iter([each for gap, kind in failures for each in (*["no"] * gap, kind)])

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.target, name)
        return self._flaky(method) if callable(method) else method

    def _flaky(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            failure = next(self.failures, "no")
            if failure == "before":
                raise ConnectionError(f"{method.__name__} did not get through")
            answer = copy.deepcopy(method(*words, **named))  # as a database gives it: a copy
            if failure == "after":
                raise ConnectionError(f"the answer to {method.__name__} did not get through")
            return answer

        return call


@dataclass
class MemoryStore:
    """As much of the store as the recorder uses, in memory."""

    uri: str = "memory"
    opened: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    rows: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    closed: dict[str, dict[str, str]] = field(default_factory=dict)

    def runs(self) -> dict[tuple[str, str, str], Any]:
        return dict(self.opened)

    def hold(self) -> None: ...
    def check(self) -> None: ...

    def open_run(self, known: Any, name: str, run: CellRun, _params: Any, _parent: Any) -> Record:
        key = run.cell, run.phase, run.config_hash if isinstance(run, TrialRun) else ""
        assert known is not None or key not in self.opened, f"{name} is there twice"
        self.opened[key] = name
        return Record("/".join(key))

    def log(self, record: Record, rows: Any) -> None:
        self.rows.setdefault(record.run_id, {}).update({step: dict(row) for step, row in rows})

    def close(self, record: Record, end: Tags, _metrics: Any, *, ok: bool, rows: Any = ()) -> None:
        assert ok
        self.log(record, rows)
        self.closed[record.run_id] = end.to_tags()


def work_on(
    spec: Spec, plan: list[Cell], storage: Any, store: Any, folder: Path, check: Callable[[], None] = lambda: None
) -> Work:
    """The real ledger, recorder and work on these two."""
    said: list[str] = []
    search = Patience("the search's storage", passing, said.append)
    results = Patience("the store", passing, said.append)
    ledger = search.retry(lambda: Ledger(storage, spec, plan))
    recorder = results.retry(lambda: Recorder(store, ledger, "commit", results, check))
    display = Display(PlainConsole(quiet=True), spec.name, SLOTS)
    display.counts = {name: cell.count() for name, cell in ledger.cells.items()}
    return Work(ledger, recorder, display, search, folder, check)


def drive(work: Work, order: random.Random) -> None:
    for _ in driven(work, order):
        pass


def driven(work: Work, order: random.Random) -> Iterator[None]:
    """As the engine does: fill the slots, advance a running trial by an epoch, until there is nothing left.

    Yields after each such round.
    """
    live: dict[str, tuple[Assignment, int]] = {}
    for _ in range(ROUNDS):
        while len(live) < SLOTS and (assignment := work.next()) is not None:
            assert assignment.folder not in live
            work.started(assignment)
            (work.folder / assignment.folder).mkdir(parents=True, exist_ok=True)  # its checkpoint
            live[assignment.folder] = assignment, 1
        if not live and work.done:
            break
        if live:
            folder = order.choice(sorted(live))
            assignment, epoch = live[folder]
            rows = curve(assignment)[:epoch]
            outcome = work.report(folder, rows[-1:])
            if outcome is None and epoch == assignment.config.epochs:
                outcome = Outcome("complete", {key: rows[-1][1][key] for key in ("val/accuracy", "val/loss")})
            live[folder] = assignment, epoch + 1
            if outcome is not None:
                del live[folder]
                work.end(folder, outcome)
        yield
    else:
        pytest.fail(f"the study waits for ever: {[cell.count() for cell in work.ledger.cells.values()]}")
    work.close()


def study(overrides: list[str], searching: Failures, storing: Failures, seed: int) -> tuple[Any, MemoryStore]:
    """What a whole study leaves in both storages, its calls failing so from the first trial on."""
    spec = load("smoke", overrides=overrides)
    plan = cells(spec)
    storage, store = Flaky(InMemoryStorage()), MemoryStore()
    flaky = Flaky(store)
    with tempfile.TemporaryDirectory() as folder:
        work = work_on(spec, plan, storage, flaky, Path(folder))
        storage.plan(searching)
        flaky.plan(storing)
        drive(work, random.Random(seed))
        assert not work.failures
        assert work.complete
        assert [path for path in Path(folder).rglob("*") if path.name.startswith(("search", "confirm"))] == []
        assert [(count.running, count.left) for count in work.display.counts.values()] == [(0, 0)] * len(plan)
    return story(Ledger(storage.target, spec, plan)), store


@pytest.fixture(scope="module", autouse=True)
def _at_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "PAUSES", (0.0,))
        yield


@functools.cache
def undisturbed(overrides: tuple[str, ...]) -> tuple[Any, MemoryStore]:
    """What such a study leaves where nothing fails."""
    return study(list(overrides), [], [], 0)


def test_a_handed_out_trial_whose_answer_was_lost_is_found_after_another_reports(tmp_path):
    """What follows `create_new_trial` fails once; a report that needs no storage is no sign of life."""
    spec = load("smoke", overrides=TRIALS)
    plan = cells(spec)
    storage, store = Flaky(InMemoryStorage()), MemoryStore()
    work = work_on(spec, plan, storage, store, tmp_path)
    first = work.next()
    assert first is not None
    work.started(first)
    create, read = storage.target.create_new_trial, storage.target.get_all_trials

    def created(*words: Any) -> Any:
        storage.target.get_all_trials = lost
        return create(*words)

    def lost(*_: object, **__: object) -> None:
        storage.target.get_all_trials = read
        raise ConnectionError

    storage.target.create_new_trial = created
    assert work.next() is None
    storage.target.create_new_trial = create
    assert work.report(first.folder, curve(first)[:1]) is None
    assert work.patience.away
    orphan = work.next()
    assert orphan is not None
    assert not work.patience.away
    numbers = [len(cell.trials) for cell in work.ledger.cells.values()]
    assert sum(numbers) == 2, "the lost one is handed out, and no third begun"
    work.recorder.writer.close()


def check(overrides: list[str], searching: Failures, storing: Failures, seed: int) -> None:
    expected, held = undisturbed(tuple(overrides))
    found, store = study(overrides, searching, storing, seed)
    assert found == expected
    assert store.rows == held.rows
    assert store.closed == held.closed
    assert store.opened == held.opened


QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=300)


@pytest.mark.parametrize("overrides", [TRIALS, PRUNED], ids=["no pruner", "median"])
@QUICK
@given(searching=FAILURES, storing=FAILURES, seed=st.integers(0, 99))
def test_whatever_fails_the_study_ends_as_if_nothing_had(overrides, searching, storing, seed):
    check(overrides, searching, storing, seed)


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("overrides", [TRIALS, PRUNED], ids=["no pruner", "median"])
@LONG
@given(searching=FAILURES, storing=FAILURES, seed=st.integers(0, 99))
def test_six_hundred_studies_with_failures_end_as_if_nothing_had(overrides, searching, storing, seed):
    check(overrides, searching, storing, seed)
