"""Every sampler: suggestions within the ranges, the same whatever the slots, the order and the interruptions."""

import random

import pytest

from study.ledger import Ledger
from study.outcome import Outcome
from study.plan import cells
from study.samplers import samplers
from study.spec import load
from study.storage import mend, open_storage
from tests.study.simulation import curve, rate, run, story
from trainables.errors import Refused

BASE = ["search/trials=11", "search/window=3", "confirm/seeds=1", "base/schedule={name: constant}"]
ALL = [
    "tpe", "random", "qmc", "gp", "cmaes", "{name: tpe, n_startup_trials: 2, multivariate: true, group: true}",
    "{name: qmc, qmc_type: halton, scramble: false}", "{name: cmaes, popsize: 4, use_separable_cma: true}",
    "{name: gp, n_startup_trials: 3}",
]  # fmt: skip


def spec(sampler, *more):
    return load("smoke", overrides=[*BASE, f"search/sampler={sampler}", *more])


@pytest.mark.parametrize("sampler", ALL)
def test_slots_order_and_kills_change_nothing(tmp_path, sampler):
    short = ["search/trials=6", "batch_sizes=[16]"] if "gp" in sampler else []  # a suggestion takes its time
    study = spec(sampler, "base/schedule/name={choices: [cosine, constant]}", *short)
    expected = run(tmp_path / "calm", study, 1, random.Random(0))
    order = random.Random(1)
    assert story(run(tmp_path / "slots", study, 4, order)) == story(expected)
    for _ in range(3):
        run(tmp_path / "killed", study, 2, order, stop_after=order.randrange(1, 30))
        mend(tmp_path / "killed")
    assert story(run(tmp_path / "killed", study, 2, order)) == story(expected)
    for cell in expected.cells.values():
        for key, range_ in cell.cell.space.items():
            drawn = [cell._values(trial)[key] for trial in cell.trials]
            assert len(set(drawn)) > (2 if hasattr(range_, "low") else 1)
            if hasattr(range_, "low"):
                low, high = sorted(range_.ends())
                assert all(low <= value <= high for value in drawn)


def test_every_sampler_is_tried_here():
    assert {load("smoke", overrides=[f"search/sampler={each}"]).search.sampler.name for each in ALL} == set(
        samplers.names()
    )


def test_a_quasi_random_search_fills_the_range_more_evenly_than_chance(tmp_path):
    """Sobol's first 16 points hit each of 8 equal parts of any one range; 16 random ones miss some."""
    study = spec("{name: qmc, scramble: false}", "search/trials=17")
    cell = run(tmp_path / "j", study, 1, random.Random(0)).cells["sgd/16"]
    warmup = cell.distributions["schedule/warmup_epochs"]
    places = [trial.params["schedule/warmup_epochs"] / warmup.high for trial in cell.trials[1:]]
    assert {min(7, int(8 * place)) for place in places} == set(range(8))


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_samplers_that_look_at_nothing_wait_for_nothing(tmp_path, sampler):
    study = spec(sampler)
    cell = Ledger(open_storage(tmp_path / "j"), study, cells(study)).cells["sgd/16"]
    assert [cell.next_search().number for _ in range(11)] == list(range(11))
    assert cell.next_search() is None


def test_they_do_wait_where_a_pruner_must_know_what_was_before(tmp_path):
    study = spec("random", "search/pruner=median", "search/prune_biased=true")
    cell = Ledger(open_storage(tmp_path / "j"), study, cells(study)).cells["sgd/16"]
    assert [cell.next_search() is None for _ in range(4)] == [False, False, False, True]


def test_the_throughput_mode_waits_for_nothing_and_sees_what_has_ended(tmp_path):
    study = spec("tpe", "search/reproducible=false")
    cell = Ledger(open_storage(tmp_path / "j"), study, cells(study)).cells["sgd/16"]
    trials = [cell.next_search() for _ in range(7)]
    assert [trial.number for trial in trials] == list(range(7))
    cell.finish(trials[5], Outcome("complete", {"val/accuracy": 0.5, "val/loss": 1.0}), curve(trials[5]))
    assert [t.state.name for t in cell._seen(7)] == ["RUNNING"] * 5 + ["COMPLETE", "RUNNING"]
    assert cell.next_search().number == 7


def low_loss(assignment):
    """Feasible below a rate of 0.01; the best accuracy lies above it."""
    return [
        (epoch, {**row, "train/loss": rate(assignment) * 100}) for epoch, row in curve(assignment, best=0.03)
    ]  # fmt: skip


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_constraints_are_honoured(tmp_path, sampler):
    only = ["batch_sizes=[16]", "arms/sgd/optimizer={lr: 0.01, beta: 0}"]
    bound = "search/constraints={train/loss: {high: 1}}"
    free = run(tmp_path / "free", spec(sampler, *only), 1, random.Random(0), follow=low_loss)
    bounded = run(tmp_path / "bounded", spec(sampler, bound, *only), 1, random.Random(0), follow=low_loss)
    name, key = "lars/16", "optimizer/gamma"
    assert free.cells[name].best().params[key] > 0.01 >= bounded.cells[name].best().params[key]
    assert story(free)[name] != story(bounded)[name]  # the sampler knew


def test_where_no_trial_keeps_to_the_constraints_nothing_is_confirmed(tmp_path):
    for number, key in enumerate(["train/loss", "no/such/metric"]):
        study = spec("tpe", f"search/constraints={{{key}: {{high: -1}}}}")
        ledger = run(tmp_path / str(number), study, 1, random.Random(0))
        assert ledger.done
        assert all(cell.best() is None and cell.confirm() == [] for cell in ledger.cells.values())
        assert all(cell.count().left == 0 for cell in ledger.cells.values())


def test_a_sampler_that_cannot_honour_constraints_is_refused():
    with pytest.raises(
        Refused, match=r"search/constraints = \['train/loss'\]: the sampler qmc ignores them; use gp, tpe"
    ):
        spec("qmc", "search/constraints={train/loss: {high: 1}}")
    with pytest.raises(Refused, match=r"search/constraints/train/loss = \{\}: bounds nothing; give high or low"):
        spec("tpe", "search/constraints={train/loss: {}}")


def test_options_are_optunas_and_unknown_ones_are_refused():
    with pytest.raises(Refused, match=r"search/sampler/startup = 3: unknown key; did you mean 'n_startup_trials'"):
        spec("{name: tpe, startup: 3}")
    with pytest.raises(Refused, match=r"search/sampler/popsize = 1: must be greater than or equal to 4"):
        spec("{name: cmaes, popsize: 1}")
