"""Every sampler: suggestions within the ranges, the same whatever the slots, the order and the interruptions."""

import random
from functools import partial

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


def test_the_quickstarts_search_is_steered(tmp_path):
    """From the fifth trial of each cell on, almost all are drawn elsewhere where the best rate lies elsewhere."""
    study, drawn = load("quickstart"), []
    for best in (1e-9, 1e3):  # the smaller rate is the better, and the larger
        ledger = run(tmp_path / f"{best}", study, 2, random.Random(0), follow=partial(curve, best=best))
        drawn.append({name: [trial.params for trial in cell.trials] for name, cell in ledger.cells.items()})
    low, high = drawn
    for name in low:
        assert len(low[name]) == len(high[name]) == 8
        assert low[name][:4] == high[name][:4]
        assert sum(one != other for one, other in zip(low[name][4:], high[name][4:], strict=True)) >= 3


def test_every_sampler_is_tried_here():
    tried = {load("smoke", overrides=[f"search/sampler={each}"]).search.sampler.name for each in [*ALL, "grid"]}
    assert tried == set(samplers.names())


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
    for number, key in enumerate(["train/loss", "train/accuracy"]):
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


GRID = [
    "base/schedule/warmup_epochs=0", "batch_sizes=[16]",
    "arms/sgd/optimizer={beta: {choices: [0, 1e-4]}, lr: {choices: [0.01, 0.1, 1]}}",
    "arms/lars/optimizer={beta: 0, excluded_lr: 0.01, gamma: {choices: [0.01, 0.1, 1, 2]}}",
]  # fmt: skip


def test_a_grid_tries_every_combination_once_and_then_begins_again(tmp_path):
    ledger = run(tmp_path / "calm", spec("grid", *GRID, "search/trials=12"), 1, random.Random(0))
    trials = [(t.params["optimizer/lr"], t.params["optimizer/beta"]) for t in ledger.cells["sgd/16"].trials]
    assert set(trials[:6]) == {(lr, beta) for lr in (0.01, 0.1, 1) for beta in (0, 1e-4)}
    assert trials[6:] == trials[:6]
    assert len({t.params["optimizer/gamma"] for t in ledger.cells["lars/16"].trials[:4]}) == 4
    order = random.Random(1)
    study = spec("grid", *GRID, "search/trials=12")
    assert story(run(tmp_path / "slots", study, 4, order)) == story(ledger)
    for _ in range(3):
        run(tmp_path / "killed", study, 2, order, stop_after=order.randrange(1, 30))
        mend(tmp_path / "killed")
    assert story(run(tmp_path / "killed", study, 2, order)) == story(ledger)


def test_a_grid_is_shuffled_so_that_a_short_budget_tries_some_of_each(tmp_path):
    orders = []
    for seed in (0, 1):
        study = spec("grid", *GRID, "search/trials=6", f"search/seed={seed}")
        cell = run(tmp_path / str(seed), study, 1, random.Random(0)).cells["sgd/16"]
        orders.append([(t.params["optimizer/lr"], t.params["optimizer/beta"]) for t in cell.trials])
    assert orders[0] != orders[1]
    assert all(order != sorted(order) for order in orders)


def test_a_raised_budget_goes_on_with_the_grid(tmp_path):
    run(tmp_path / "j", spec("grid", *GRID, "search/trials=2"), 1, random.Random(0))
    topped = run(tmp_path / "j", spec("grid", *GRID, "search/trials=6"), 1, random.Random(0))
    calm = run(tmp_path / "calm", spec("grid", *GRID, "search/trials=6"), 1, random.Random(0))
    for name, cell in calm.cells.items():
        assert [t.params for t in topped.cells[name].trials] == [t.params for t in cell.trials]


def test_a_grid_waits_for_nothing(tmp_path):
    study = spec("grid", *GRID)
    cell = Ledger(open_storage(tmp_path / "j"), study, cells(study)).cells["sgd/16"]
    assert [cell.next_search().number for _ in range(11)] == list(range(11))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("base/schedule/warmup_epochs={low: 0, high: 0.5}",
         r"arms/sgd/schedule/warmup_epochs = 'from 0 to 0\.5': the sampler grid tries every combination, and a range "
         r"of numbers has no end of them; fix it, or write \{choices: "),
        ("arms/sgd/optimizer/momentum={low: 0.01, high: 0.5}", r"optimizer/momentum = 'from 0\.01 to 0\.5'"),
        (f"arms/sgd/optimizer={{lr: {{choices: {list(range(1, 202))}}}, beta: {{choices: {list(range(50))}}}}}",
         r"arms/sgd = 10050: a grid has at most 10,000 combinations; offer fewer choices"),
    ],
)  # fmt: skip
def test_what_a_grid_cannot_try_is_refused(override, message):
    with pytest.raises(Refused, match=message):
        cells(spec("grid", *GRID, override))


def test_a_grid_of_exactly_the_most_combinations_is_accepted():
    most = f"arms/sgd/optimizer={{lr: {{choices: {list(range(1, 201))}}}, beta: {{choices: {list(range(50))}}}}}"
    assert cells(spec("grid", *GRID, most))
