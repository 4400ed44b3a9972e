"""Spaces of unequal size, grids that a budget cuts short, choices that no trial had."""

from __future__ import annotations

import random

import pytest

from search_spaces import Choice, Float
from study.fairness import notes, points, unequal, untried
from study.plan import cells
from study.spec import load
from tests.study.commands import study
from tests.study.simulation import run

CHOICES = [
    "arms/sgd/optimizer={beta: 0, lr: {choices: [0.01, 0.1, 1]}}",
    "arms/lars/optimizer={excluded_lr: 0.01, beta: {choices: [0, 1e-4]}, gamma: {choices: [0.01, 0.1, 1]}}",
]


def spec(*overrides):
    return load("smoke", overrides=list(overrides))


def test_arms_that_search_more_dimensions_than_others_are_named():
    assert unequal(cells(spec("arms/sgd/optimizer/beta=0"))) == (
        "Arms search spaces of unequal size with the same number of trials: 1 dimension in sgd; 2 dimensions in lars"
    )


def test_arms_of_one_size_and_arms_that_search_nothing_are_no_reason_to_warn():
    assert unequal(cells(spec())) == ""
    assert unequal(cells(spec("arms/lars/optimizer={beta: 0, gamma: 0.1, excluded_lr: 0.1}"))) == ""
    assert unequal(cells(spec("arms/sgd/optimizer={beta: 0}", "arms/lars/optimizer={beta: 0, excluded_lr: 1}"))) == ""


def test_spaces_of_choices_alone_are_compared_by_their_combinations():
    assert "3 combinations in sgd; 6 combinations in lars" in unequal(cells(spec(*CHOICES)))
    assert "1 dimension in sgd; 2 dimensions in lars" in unequal(
        cells(spec("arms/sgd/optimizer/beta=0", "arms/lars/optimizer/beta=0"))
    )


def test_combinations_are_counted_only_where_there_is_no_range():
    assert points({"a": Choice((1, 2)), "b": Choice((1, 2, 3))}) == 6
    assert points({"a": Choice((1, 2)), "b": Float(0, 1)}) is None
    assert points({}) == 1


def test_a_grid_that_the_budget_cuts_short_is_named_before_it_runs():
    short = spec(*CHOICES, "search/sampler=grid", "search/trials=5")
    cut = [note for note in notes(short, cells(short)) if "tries" in note]
    assert cut == [f"warning: lars/{n} tries 5 of its 6 combinations" for n in (16, 64)]
    whole = spec(*CHOICES, "search/sampler=grid", "search/trials=6")
    assert not [note for note in notes(whole, cells(whole)) if "tries" in note]


def test_check_prints_them(capsys):
    words = [f"--set={each}" for each in (*CHOICES, "search/sampler=grid", "search/trials=2")]
    result = study(capsys, "check", "smoke", *words)
    assert result.status == 0
    assert "warning: arms search spaces of unequal size" in result.out
    assert "warning: sgd/16 tries 2 of its 3 combinations" in result.out


def test_the_values_that_no_trial_had_are_named():
    space = {"name": Choice(("a", "b", "c")), "on": Choice((True, False)), "lr": Float(0, 1)}
    assert untried(space, [{"name": "b", "on": True, "lr": 0.5}]) == ["name = a, c", "on = False"]
    assert untried(space, [{"name": name, "on": on, "lr": 0} for name in "abc" for on in (True, False)]) == []


@pytest.mark.parametrize("trials", [1, 9])
def test_a_search_that_has_ended_counts_what_it_never_tried(tmp_path, trials):
    names = ["cosine", "polynomial", "multistep", "constant", "one_cycle"]
    more = [f"base/schedule={{name: {{choices: [{', '.join(names)}]}}}}", f"search/trials={trials}"]
    cell = run(tmp_path / "j", spec(*more), 1, random.Random(0)).cells["sgd/16"]
    drawn = {trial.params["schedule/name"] for trial in cell.trials}
    never = [name for name in names if name not in drawn]
    assert cell.count().untried == ((f"schedule/name = {', '.join(never)}",) if never else ())
    assert never if trials == 1 else len(never) < 4


def test_it_says_nothing_of_a_search_that_goes_on(tmp_path):
    more = ["base/schedule={name: {choices: [cosine, constant]}}", "search/trials=4"]
    ledger = run(tmp_path / "j", spec(*more), 1, random.Random(0), stop_after=3)
    assert ledger.cells["sgd/16"].count().untried == ()
