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


def test_plain_lines_name_what_runs_and_estimate_the_rest(monkeypatch):
    monkeypatch.setattr("study.progress.PLAIN_SECONDS", -1)
    view = display(terminal=False)
    cell = cells(load("smoke"))[0]
    trial = Assignment(cell, "search", 0, cell.typical)
    with view.live({"sgd/16": Count(5), "sgd/64": Count(5)}):
        view.ready()
        view.trial_ended(trial, Outcome("complete"), 4.0, Count(5, done=1, best=0.5))
        view.trial_ended(trial, Outcome("failed", reason="Traceback\nMemoryError"), 4.0, Count(5, done=1, failed=1))
        view.trial_ended(trial, Outcome("diverged"), 4.0, Count(5, done=1, diverged=1))
    text = shown(view.console)
    assert "smoke: 2 cells, 10 trials, 10 to run, 2 at once" in text
    assert "1/10 trials, 0/2 cells, about 18 s left" in text
    assert "MemoryError" in text
    assert "2/10 trials, 0/2 cells, 1 diverged, about 16 s left" in text


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
    assert "a/1 2/5 1 · 1 1 87.5 %" in shown(console)
    assert "b/1 0/5 · · · · –" in shown(console)


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
    assert rows[1].split() == ["a", "1/2", "7/10", "·", "1", "·"]
    assert rows[2].split() == ["b", "not", "begun"]
