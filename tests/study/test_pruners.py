"""Pruning: whatever the slots, the order and the interruptions, the same trials are pruned at the same epochs."""

import random

import pytest

from study.ledger import Ledger
from study.outcome import Outcome
from study.plan import cells
from study.pruners import Arena, pruners
from study.search import CellSearch, pruning
from study.spec import load
from study.storage import mend, open_storage
from tests.study.simulation import curve, run, story
from trainables.errors import Refused

UNBIASED = ["base/schedule/warmup_epochs=0", "base/epochs=9", "search/trials=12", "search/window=3", "confirm/seeds=2"]
ALL = [
    "median",
    "{name: median, n_startup_trials: 2, n_warmup_steps: 2}",
    "{name: asha, reduction_factor: 3}",
    "{name: hyperband, reduction_factor: 2}",
    "{name: wilcoxon, p_threshold: 0.2}",
]


def spec(pruner, *more):
    return load("smoke", overrides=[*UNBIASED, f"search/pruner={pruner}", *more])


@pytest.mark.parametrize("pruner", ALL)
def test_slots_order_and_kills_change_nothing(tmp_path, pruner):
    study = spec(pruner)
    expected = run(tmp_path / "calm", study, 1, random.Random(0))
    states = [t.state.name for cell in expected.cells.values() for t in cell.trials]
    assert {"PRUNED", "COMPLETE"} == set(states)
    order = random.Random(1)
    assert story(run(tmp_path / "slots", study, 3, order)) == story(expected)
    for _ in range(4):
        run(tmp_path / "killed", study, 2, order, stop_after=order.randrange(1, 60))
        mend(tmp_path / "killed")
    assert story(run(tmp_path / "killed", study, 2, order)) == story(expected)


def test_a_pruned_trial_keeps_the_epochs_it_had_and_is_never_the_best(tmp_path):
    ledger = run(tmp_path / "j", spec("{name: asha, reduction_factor: 3}"), 1, random.Random(0))
    for cell in ledger.cells.values():
        pruned = [t for t in cell.trials if t.state.name == "PRUNED"]
        assert pruned
        for trial in pruned:
            epoch = trial.user_attrs["step"]
            assert list(trial.intermediate_values) == list(range(1, epoch + 1))
            assert epoch < 9
            assert trial.value == trial.intermediate_values[epoch]
            assert trial.user_attrs["reason"] == f"asha pruned it after epoch {epoch}"
        assert cell.best().state.name == "COMPLETE"
        count = cell.count()
        assert (count.pruned, count.left) == (len(pruned), 0)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("base/schedule/warmup_epochs=0.5", "warm-up"),
        ("arms/sgd/trick={discard: {p: 0.3, epochs: 1}}", "discard"),
        ("arms/sgd/trick={first_epoch: {batch_size: 8}}", "first_epoch"),
    ],
)
def test_arms_whose_early_curves_mislead_are_not_pruned_unless_asked(tmp_path, override, reason):
    study = spec("{name: asha, reduction_factor: 2}", override)
    cell = cells(study)[0]
    assert pruning(study, cell) == f"off: {reason} would mislead it (search/prune_biased: true overrules)"
    ledger = run(tmp_path / "off", study, 1, random.Random(0))
    assert not any(t.state.name == "PRUNED" for t in ledger.cells["sgd/16"].trials)
    overruled = spec("{name: asha, reduction_factor: 2}", override, "search/prune_biased=true")
    assert pruning(overruled, cell) == "asha"
    ledger = run(tmp_path / "on", overruled, 1, random.Random(0))
    assert any(t.state.name == "PRUNED" for t in ledger.cells["sgd/16"].trials)


def test_a_searched_warm_up_counts_as_biased():
    study = load("smoke", overrides=["base/schedule={name: cosine}", "search/pruner=median"])
    assert {cell.biased for cell in cells(study)} == {"warm-up"}


def test_confirm_trials_are_never_pruned(tmp_path):
    study = spec("median")
    ledger = run(tmp_path / "j", study, 1, random.Random(0))
    confirm = ledger.cells["sgd/16"].confirm()[0]
    bad = [(epoch, {"val/accuracy": 0.0, "val/loss": 9.0}) for epoch in range(1, 9)]
    assert ledger.stops(confirm, bad) is None


def test_rows_after_the_pruned_epoch_do_not_count(tmp_path):
    """A killed driver may find a checkpoint beyond the epoch at which it would have stopped the trial."""
    ledger = Ledger(open_storage(tmp_path / "j"), spec("{name: median, n_startup_trials: 1}"), cells(spec("median")))
    cell = ledger.cells["sgd/16"]
    first = [cell.next_search() for _ in range(3)]
    for trial in first:
        cell.finish(trial, Outcome("complete", {"val/accuracy": 0.9, "val/loss": 0.1}), curve(trial))
    judged = [cell.next_search() for _ in range(3)][2]  # sees all three
    low = [(epoch, {"val/accuracy": 1e-6 * epoch, "val/loss": 1.0}) for epoch in range(1, 6)]
    outcome = cell.stops(judged, low)
    assert (outcome.status, outcome.step, outcome.metrics["val/accuracy"]) == ("pruned", 1, 1e-6)


def test_in_the_throughput_mode_running_trials_are_compared(tmp_path):
    study = spec("{name: asha, reduction_factor: 2}", "search/reproducible=false", "search/sampler=random")
    ledger = Ledger(open_storage(tmp_path / "j"), study, cells(study))
    cell = ledger.cells["sgd/16"]
    good, bad = cell.next_search(), cell.next_search()
    assert cell.stops(good, [(1, {"val/accuracy": 0.9, "val/loss": 0.1})]) is None
    assert cell.stops(bad, [(1, {"val/accuracy": 0.1, "val/loss": 0.9})]).status == "pruned"


def test_an_arena_numbers_trials_as_the_study_does():
    arena = Arena("sgd/16", [], 5)
    trial = cells(load("smoke"))[0]
    assert trial.name == "sgd/16"
    from optuna.trial import create_trial

    assert arena.storage.get_trial(arena.enter(create_trial(value=0.0))).number == 5


def test_options_are_optunas_and_unknown_ones_are_refused():
    assert set(pruners.names()) == {"none", "median", "asha", "hyperband", "wilcoxon"}
    with pytest.raises(Refused, match=r"search/pruner/n_warmup = 3: unknown key; did you mean 'n_warmup_steps'"):
        spec("{name: median, n_warmup: 3}")
    with pytest.raises(Refused, match=r"search/pruner/reduction_factor = 1: must be greater than or equal to 2"):
        spec("{name: asha, reduction_factor: 1}")


def judged(tmp_path, *more):
    """A search whose first trial reached 0.9 at every epoch, and its second trial, which has just begun."""
    study = spec("{name: median, n_startup_trials: 1}", "search/window=1", *more)
    search = CellSearch(open_storage(tmp_path / "j"), study, cells(study)[0])
    first = search.next_search()
    rows = [(epoch, {"val/accuracy": 0.9, "val/loss": 0.1}) for epoch in range(1, 10)]
    search.finish(first, Outcome("complete", {"val/accuracy": 0.9, "val/loss": 0.1}), rows)
    return search, search.next_search()


def row(epoch, accuracy):
    return [(epoch, {"val/accuracy": accuracy, "val/loss": 1.0, "train/loss": 2.0})]


def test_the_last_epoch_is_never_pruned_and_each_before_it_may_be(tmp_path):
    search, trial = judged(tmp_path)
    assert search.stops(trial, row(9, 0.1)) is None
    outcome = search.stops(trial, row(8, 0.1))
    assert outcome == Outcome("pruned", {"val/accuracy": 0.1, "val/loss": 1.0}, 8, "median pruned it after epoch 8")


@pytest.mark.parametrize("mode", ["true", "false"])
def test_a_trial_leaves_the_judge_when_it_ends_and_counts_for_those_after_it(tmp_path, mode):
    search, trial = judged(tmp_path, f"search/reproducible={mode}")
    outcome = search.stops(trial, row(1, 0.1))
    assert search.judge.has(1)
    search.finish(trial, outcome, row(1, 0.1))
    assert not search.judge.has(1)
    ended = search.trials[1]
    assert (ended.state.name, ended.value, ended.user_attrs["step"]) == ("PRUNED", 0.1, 1)
    third = search.next_search()
    assert search.stops(third, row(1, 0.95)) is None


def test_without_a_pruner_nothing_judges(tmp_path):
    study = spec("none")
    search = CellSearch(open_storage(tmp_path / "j"), study, cells(study)[0])
    trial = search.next_search()
    assert search.judge is None
    assert search.stops(trial, row(1, 0.0)) is None
