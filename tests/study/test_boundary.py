"""The boundary alarm, and the rounds of wider ranges that answer it."""

import random

import pytest

from search_spaces import Float
from study import boundary
from study.ledger import Ledger
from study.plan import cells
from study.search import CellSearch
from study.spec import load
from study.storage import mend, open_storage
from tests.study.simulation import curve, run, story

KEYS = [
    "arms/sgd/optimizer={beta: 0, lr: {low: 0.001, high: 0.01, log: true}}",
    "arms/lars/optimizer={excluded_lr: 0.01, gamma: {low: 0.001, high: 0.1, log: true}}",
]
SEARCH = ["search/trials=8", "search/window=2", "confirm/seeds=1", "search/sampler={name: tpe, n_startup_trials: 3}"]


def spec(*more):
    return load("smoke", overrides=[*KEYS, *SEARCH, *more])


def far(assignment):
    """SGD is best at 0.3, beyond its range; LARS at 0.01, in the middle of its own."""
    return curve(assignment, best=0.3 if assignment.cell.arm == "sgd" else 0.01)


def test_a_best_trial_at_the_end_of_its_range_is_said():
    cell = cells(spec())[0]
    assert [str(e) for e in boundary.edges(cell, cell.space, {"optimizer/lr": 0.0099})] == [
        "optimizer/lr = 0.0099, at the end 0.01 of its range"
    ]
    assert [e.end for e in boundary.edges(cell, cell.space, {"optimizer/lr": 0.00101})] == ["low"]
    assert boundary.edges(cell, cell.space, {"optimizer/lr": 0.003}) == []


def test_an_end_that_the_domain_has_itself_raises_no_alarm():
    cell = cells(load("smoke", overrides=["base/schedule={name: constant}", "base/epochs=10"]))[0]
    middle = {key: range_.centre() for key, range_ in cell.space.items()}
    found = boundary.edges(cell, cell.space, {**middle, "schedule/warmup_epochs": 0.0})
    assert found == []  # no warm-up is shorter than none
    found = boundary.edges(cell, cell.space, {**middle, "schedule/warmup_epochs": 2.0})
    assert [(e.key, e.end) for e in found] == [("schedule/warmup_epochs", "high")]


def test_momentum_is_named_by_its_value_not_by_what_is_drawn():
    fixed = ["arms/sgd/optimizer={name: sgd, lr: 0.1, beta: 0}"]
    cell = cells(load("smoke", overrides=fixed))[0]
    space = {"optimizer/momentum": Float(5e-3, 0.3, log=True, complement=True)}
    (edge,) = boundary.edges(cell, space, {"optimizer/momentum": 0.00501})
    assert str(edge) == "optimizer/momentum = 0.995, at the end 0.995 of its range"


def test_ranges_grow_tenfold_and_never_beyond_the_widest():
    cell = cells(spec())[0]
    wide = boundary.widest(cell)
    assert wide["optimizer/lr"] == Float(1e-6, 10.0, log=True)
    space = dict(cell.space)
    for high in (0.1, 1.0, 10.0, 10.0):
        alarm = boundary.Edge("optimizer/lr", "high", 0, 0)
        space = boundary.widened(space, [alarm], wide)
        assert space["optimizer/lr"].high == pytest.approx(high)


def test_the_widest_range_stays_in_the_fields_domain():
    cell = cells(load("smoke", overrides=["arms/sgd/model/dropout={low: 0.01, high: 0.5, log: true}"]))[0]
    wide = boundary.widest(cell)["model/dropout"]
    assert wide.high == 0.5  # ten times more is no probability
    assert wide.low == pytest.approx(1e-5)


def test_without_widen_it_is_an_alarm_and_no_more(tmp_path):
    ledger = run(tmp_path / "j", spec(), 1, random.Random(0), follow=far)
    count = ledger.cells["sgd/16"].count()
    assert [len(cell.trials) for cell in ledger.cells.values()] == [8] * 4
    assert count.edges
    assert count.edges[0].startswith("optimizer/lr = ")
    assert ledger.cells["lars/16"].count().edges == ()


def test_with_widen_the_range_grows_and_every_cell_gets_the_same_trials(tmp_path):
    ledger = run(tmp_path / "j", spec("search/widen=true"), 1, random.Random(0), follow=far)
    budgets = {name: len(cell.trials) for name, cell in ledger.cells.items()}
    assert len(set(budgets.values())) == 1  # offered to all
    assert len({cell.rounds for cell in ledger.cells.values()}) == 1
    assert 8 < budgets["sgd/16"] <= 8 + boundary.ROUNDS * boundary.extra(8)
    sgd, lars = ledger.cells["sgd/16"], ledger.cells["lars/16"]
    assert sgd.best().params["optimizer/lr"] > 0.01  # beyond the first range
    assert all(0.001 <= t.params["optimizer/gamma"] <= 0.1 for t in lars.trials)  # no alarm: its range stays
    assert all(0.001 <= t.params["optimizer/lr"] <= 0.01 for t in sgd.trials[:8])
    distributions = {str(t.distributions["optimizer/lr"]) for t in sgd.trials}
    assert len(distributions) == 1  # fixed and wide from the start
    assert all(cell.count().left == 0 for cell in ledger.cells.values())


@pytest.mark.parametrize("seed", [1, 3])
def test_slots_order_and_kills_change_nothing(tmp_path, seed):
    study = spec("search/widen=true")
    expected = story(run(tmp_path / "calm", study, 1, random.Random(0), follow=far))
    order = random.Random(seed)
    assert story(run(tmp_path / "slots", study, 1 + seed, order, follow=far)) == expected
    for _ in range(5):
        run(tmp_path / "killed", study, 2, order, stop_after=order.randrange(1, 40), follow=far)
        mend(tmp_path / "killed")
    assert story(run(tmp_path / "killed", study, 2, order, follow=far)) == expected


def test_nothing_is_confirmed_before_the_last_round(tmp_path):
    study = spec("search/widen=true")
    ledger = Ledger(open_storage(tmp_path / "j"), study, cells(study))
    assert not ledger.done
    assert all(cell.confirm() == [] for cell in ledger.cells.values())


def test_a_raised_budget_after_rounds_of_widening_goes_on(tmp_path):
    run(tmp_path / "j", spec("search/widen=true"), 1, random.Random(0), follow=far)
    ledger = run(tmp_path / "j", spec("search/widen=true", "search/trials=20"), 2, random.Random(0), follow=far)
    assert ledger.done
    assert len({len(cell.trials) for cell in ledger.cells.values()}) == 1
    assert len(ledger.cells["sgd/16"].trials) >= 20


def test_a_spec_of_fixed_values_is_not_held_up(tmp_path):
    study = load("smoke", overrides=[
        "search/widen=true", "search/trials=4", "confirm/seeds=1", "arms/sgd/optimizer={lr: 0.01, beta: 0}",
        "arms/lars/optimizer={gamma: 0.01, excluded_lr: 0.01}",
    ])  # fmt: skip
    ledger = run(tmp_path / "j", study, 1, random.Random(0))
    assert all(len(cell.ended_confirms) == 1 for cell in ledger.cells.values())


def test_a_search_wants_widening_only_where_an_alarm_can_be_answered(tmp_path, monkeypatch):
    study = spec("search/widen=true")
    search = CellSearch(open_storage(tmp_path / "j"), study, cells(study)[0])
    assert not search.wants_widening
    monkeypatch.setattr(CellSearch, "alarms", lambda *_: [boundary.Edge("optimizer/lr", "high", 0, 0)])
    assert search.wants_widening
    search.widest = dict(search.cell.space)  # as in the last round
    assert not search.wants_widening
