from __future__ import annotations

import io

import pytest

from study.console import PlainConsole
from study.cost import Total
from study.outcome import Count, Outcome
from study.plan import Assignment, cells
from study.progress import Display, counts_table, studies_table
from study.spec import load
from study.text import duration


def shown(console: PlainConsole) -> str:
    return " ".join(console.file.getvalue().split())


def display(terminal: bool) -> Display:
    return Display(PlainConsole(io.StringIO(), force_terminal=terminal, width=100), "smoke", slots=2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (125, "2 min 5 s"), (3600, "1 h 0 min"), (7325, "2 h 2 min")]
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time, in a list; each trial that ends has its line."""
    now = [0.0]
    monkeypatch.setattr("study.progress.PLAIN_SECONDS", -1)
    monkeypatch.setattr("study.progress.time.monotonic", lambda: now[0])
    return now


def trial_of(name: str) -> Assignment:
    cell = next(cell for cell in cells(load("smoke")) if cell.name == name)
    return Assignment(cell, "search", 0, cell.typical)


def test_plain_lines_name_what_runs_and_estimate_the_rest(clock):
    view = display(terminal=False)
    trial = trial_of("sgd/16")
    with view.live({"sgd/16": Count(5), "sgd/64": Count(5)}):
        view.ready(2)
        clock[0] = 5.0
        view.trial_ended(trial, Outcome("complete"), 4.0, Count(5, done=1, best=0.5))
        clock[0] = 10.0
        view.trial_ended(trial, Outcome("failed", reason="Traceback\nMemoryError"), 4.0, Count(5, done=1, failed=1))
        clock[0] = 130.0
        view.trial_ended(trial, Outcome("diverged"), 4.0, Count(5, done=1, diverged=1))
    text = shown(view.console)
    assert "smoke: 2 cells, 10 trials, 10 to run, 2 at once" in text
    assert "1/10 trials, 0/2 cells, 5 s gone, about 45 s left" in text
    assert "MemoryError" in text
    assert "2/10 trials, 0/2 cells, 1 diverged, 2 min 10 s gone, about 5 min 47 s left" in text


def test_the_time_left_weighs_cells_by_their_own_trials_or_by_the_estimate(clock):
    """Ten seconds of a trial that was to take 2: one of the other cell, estimated at 20, will take 100."""
    view = display(terminal=False)
    view.cost(Total(), {"sgd/16": 2.0, "sgd/64": 20.0})
    with view.live({"sgd/16": Count(3), "sgd/64": Count(2)}):
        view.trial_started(trial_of("sgd/16"))
        clock[0] = 12.0
        view.trial_stopped(trial_of("sgd/16"))
        view.trial_ended(trial_of("sgd/16"), Outcome("complete"), 10.0, Count(3, done=1))
        view.trial_started(trial_of("sgd/64"))  # half done, on the whole: 50 of 200
        clock[0] = 60.0
        view.trial_ended(trial_of("sgd/16"), Outcome("complete"), 10.0, Count(3, done=2))
    assert "1/5 trials, 0/2 cells, 12 s gone, about 4 min 24 s left" in shown(view.console)  # 220 / 10 · 12 s
    assert "2/5 trials, 0/2 cells, 1 min 0 s gone, about 2 min 17 s left" in shown(view.console)  # 160 / 70 · 60 s


def test_a_cluster_says_how_many_run_at_once():
    view = Display(PlainConsole(io.StringIO(), width=100), "smoke", slots=None)
    view.cost(Total(2, 10, 100, 2 * 3600.0))
    with view.live({"sgd/16": Count(5)}):
        view.ready(16)
    said = shown(view.console)
    assert "roughly 2 h 0 min, one after another" in said
    assert "5 trials, 5 to run, as many at once as the cluster has room for starting the workers … 16 at once" in said
    assert view.slots == 16


def test_no_more_trials_run_than_there_are_slots_however_slow_the_store():
    view = display(terminal=False)
    with view.live({"sgd/16": Count(5)}):
        for _ in range(3):
            view.trial_started(trial_of("sgd/16"))
            assert view.counts["sgd/16"].running == 1
            view.trial_stopped(trial_of("sgd/16"))
        for done in (1, 2, 3):
            view.trial_ended(trial_of("sgd/16"), Outcome("complete"), 1.0, Count(5, done=done))
        assert (view.counts["sgd/16"].running, view.counts["sgd/16"].done) == (0, 3)


def test_a_terminal_gets_a_table_that_updates():
    view = display(terminal=True)
    with view.live({"sgd/16": Count(5, done=2, best=0.9)}):
        view.screen.refresh()
    text = shown(view.console)
    assert "sgd/16" in text
    assert "90.0 %" in text
    assert "2/5 trials" in text


def test_the_table_has_a_row_a_cell():
    console = PlainConsole(io.StringIO(), width=100)
    console.print(counts_table({"a/1": Count(5, 2, 1, 1, 1, best=0.875), "b/1": Count(5)}))
    assert "a/1 2/5 1 1 1 87.5 %" in shown(console)
    assert "b/1 0/5 · · · –" in shown(console)


def test_a_table_has_no_column_of_zeros_and_fits_fifty_characters():
    console = PlainConsole(io.StringIO(), width=50)
    counts = {"percent-delta-long/49152": Count(5, 2, 1, best=0.5), "b/1": Count(5)}
    console.print(counts_table(counts))
    lines = console.file.getvalue().splitlines()
    assert lines[0].split() == ["cell", "done", "running", "best", "val."]
    assert lines[1].split() == ["percent-delta-long/49152", "2/5", "1", "50.0", "%"]
    assert "running" not in studies_table({"a": {"b/1": Count(5)}}).columns[-1].header


def test_a_run_of_more_than_ten_minutes_says_what_it_costs():
    view = display(terminal=False)
    view.cost(Total(30, 187_500, 24_000_000, 2 * 600.0))
    assert not shown(view.console)
    view.cost(Total(30, 187_500, 24_000_000, 2 * 3600.0))
    told = "smoke is long: 30 trials, 187,500 training steps, 24,000,000 images; roughly 1 h 0 min with 2 at once"
    assert told in shown(view.console)


def test_the_table_of_studies_sums_their_cells():
    console = PlainConsole(io.StringIO(), width=100)
    console.print(studies_table({"a": {"sgd/16": Count(5, done=4, diverged=1), "sgd/64": Count(5, done=2)}, "b": {}}))
    rows = console.file.getvalue().splitlines()
    assert rows[0].split() == ["study", "cells", "trials", "diverged"]
    assert rows[1].split() == ["a", "1/2", "7/10", "1"]
    assert rows[2].split() == ["b", "not", "begun"]
