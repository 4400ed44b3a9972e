"""A driver that stands still in any of its calls while another takes the study over, and goes on then.

Both ledgers, recorders and works are the real ones, on the same two storages in memory. The first stops wherever it
calls one of them, before or after the call took effect; the second comes some way; the first goes on until it sees that
the study is no longer its own.
"""

from __future__ import annotations

import copy
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from study.ledger import Ledger
from study.outcome import Outcome
from study.patience import Gone
from study.plan import cells
from study.spec import load
from study.store import Record
from tests.study.simulation import curve, story
from tests.study.test_outages import (
    PRUNED,
    TRIALS,
    MemoryStore,
    _at_once,  # noqa: F401, a fixture that every test here uses
    drive,
    driven,
    undisturbed,
    work_on,
)


class SharedStore(MemoryStore):
    """Two drivers may make a run each for one trial; read is the one that ended, else the first, as by the real one."""

    def runs(self) -> dict[tuple[str, str, str], Any]:
        found: dict[tuple[str, str, str], Any] = {}
        for record, key in self.opened.items():
            if key not in found or (record in self.closed and found[key] not in self.closed):
                found[key] = record
        return found

    def open_run(self, known: Any, name: str, run: Any, _params: Any, _parent: Any) -> Record:
        if known is None:
            key = run.cell, run.phase, getattr(run, "config_hash", "")
            known = f"{name} {len(self.opened)}"
            self.opened[known] = key
        return Record(known)

    def whole(self) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Rows and final tags of the runs that count, as `MemoryStore` holds them."""
        counted = {"/".join(key): record for key, record in self.runs().items()}
        rows = {place: self.rows[record] for place, record in counted.items() if record in self.rows}
        closed = {place: self.closed[record] for place, record in counted.items() if record in self.closed}
        return rows, closed


class Standstill:
    """Everything that the first driver calls goes through here, one call at a time; once, it stands still for a while.

    `where`: before how many more calls; `after`: once the call has taken effect, and not before it.
    """

    def __init__(self, where: int, after: bool, meanwhile: Callable[[], None]) -> None:
        self.left, self.after, self.meanwhile = where, after, meanwhile
        self.one, self.stood = threading.RLock(), False

    def around(self, target: Any) -> Any:
        return _Through(self, target)

    def call(self, method: Callable[..., Any], *words: Any, **named: Any) -> Any:
        with self.one:
            self.left -= 1
            here = self.left < 0 and not self.stood
            self.stood |= here
            if here and not self.after:
                self.meanwhile()
            answer = copy.deepcopy(method(*words, **named))
            if here and self.after:
                self.meanwhile()
            return answer


class _Through:
    def __init__(self, standstill: Standstill, target: Any) -> None:
        self.standstill, self.target = standstill, target

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.target, name)
        if not callable(attribute):
            return attribute
        return lambda *words, **named: self.standstill.call(attribute, *words, **named)


def two_drivers(overrides: list[str], where: int, *, after: bool, rounds: int, seed: int) -> tuple[Any, Any, Any]:
    """The study that both leave; and what each of them began, by number, that does not count."""
    spec = load("smoke", overrides=overrides)
    plan = cells(spec)
    storage, store, owner = InMemoryStorage(), SharedStore(), ["first"]
    second: list[Iterator[None]] = []

    def take_over() -> None:
        owner[0] = "second"
        with tempfile.TemporaryDirectory() as folder:
            work = work_on(spec, plan, storage, store, Path(folder))
            second.append(driven(work, random.Random(seed + 1)))
            for _, _ in zip(range(rounds), second[0], strict=False):
                pass

    standstill = Standstill(where, after, take_over)

    def check() -> None:
        with standstill.one:
            if owner[0] != "first":
                raise Gone("another has taken the study over")

    with tempfile.TemporaryDirectory() as folder:
        first = work_on(spec, plan, standstill.around(storage), standstill.around(store), Path(folder), check)
        try:
            drive(first, random.Random(seed))
        except Gone:
            assert owner[0] == "second"
        first.recorder.writer.close()
        for _ in second[0] if second else ():
            pass
    running = {
        name: [trial.number for trial in storage.get_all_trials(cell.study.id) if trial.state == TrialState.RUNNING]
        for name, cell in Ledger(storage, spec, plan).cells.items()
    }
    return story(Ledger(storage, spec, plan)), store, running


def check(overrides: list[str], where: int, *, after: bool, rounds: int, seed: int) -> None:
    expected, held = undisturbed(tuple(overrides))
    found, store, running = two_drivers(overrides, where, after=after, rounds=rounds, seed=seed)
    assert found == expected
    assert store.whole() == (held.rows, held.closed)
    assert set(map(len, running.values())) == {0}, "a trial is left running"
    assert max(Counter(store.opened.values()).values()) <= 2


ANYWHERE = {
    "where": st.integers(0, 700), "after": st.booleans(), "rounds": st.integers(0, 60), "seed": st.integers(0, 99),
}  # fmt: skip


def test_who_has_lost_the_study_begins_and_writes_nothing_more(tmp_path):
    spec = load("smoke", overrides=TRIALS)
    store, lost = MemoryStore(), []

    def check() -> None:
        if lost:
            raise Gone("another has taken the study over")

    work = work_on(spec, cells(spec), InMemoryStorage(), store, tmp_path, check)
    first, second = work.next(), work.next()
    work.started(first)
    held = (len(store.opened), len(store.rows))
    lost.append(True)
    calls = (
        work.next, lambda: work.started(second), lambda: work.report(first.folder, curve(first)[:1]),
        lambda: work.end(first.folder, Outcome("complete")),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(Gone):
            call()
    assert list(work.recorder.live) == [first.folder]
    work.recorder.end(first.folder, Outcome("complete"))  # as if it had looked just before
    work.recorder.writer.wait(10)
    assert isinstance(work.recorder.error, Gone)
    assert (len(store.opened), len(store.rows)) == held
    work.recorder.writer.close()


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=300)


@pytest.mark.parametrize("overrides", [TRIALS, PRUNED], ids=["no pruner", "median"])
@QUICK
@given(**ANYWHERE)
def test_wherever_a_driver_stands_still_the_study_is_one_drivers(overrides, where, after, rounds, seed):
    check(overrides, where, after=after, rounds=rounds, seed=seed)


@pytest.mark.faults
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("overrides", [TRIALS, PRUNED], ids=["no pruner", "median"])
@LONG
@given(**ANYWHERE)
def test_six_hundred_standstills(overrides, where, after, rounds, seed):
    check(overrides, where, after=after, rounds=rounds, seed=seed)
