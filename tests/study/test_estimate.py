import pytest

from study.estimate import Speed, Timings, Total, estimate, total
from study.plan import cells, load_data
from study.spec import load


def test_costs_count_every_step_of_every_trial():
    spec = load("smoke", overrides=["arms/small={optimizer: {name: sgd, lr: 0.1, momentum: 0.9, beta: 0}, "
                                    "trick: {first_epoch: {batch_size: 8, lr: 0.1}}}"])  # fmt: skip
    plan = cells(spec)
    costs = dict(zip([cell.name for cell in plan], estimate(spec, plan, load_data(plan)), strict=True))
    assert (costs["sgd/16"].search, costs["sgd/16"].confirm) == (3, 2)
    assert costs["sgd/16"].steps == 2 * (180 // 16)
    assert costs["small/64"].steps == 180 // 8 + 180 // 64
    assert costs["small/64"].search == 0
    assert all(0 < cost.seconds < 60 for cost in costs.values())
    assert costs["sgd/16"].seconds == pytest.approx(costs["lars/16"].seconds)
    assert costs["small/64"].images == 180 // 8 * 8 + 180 // 64 * 64


def test_a_total_adds_trials_or_those_that_are_left():
    spec = load("smoke")
    plan = cells(spec)
    costs = estimate(spec, plan, load_data(plan))
    whole = total(costs)
    assert whole.trials == 4 * (3 + 2)
    assert whole.steps == 5 * sum(cost.steps for cost in costs)
    assert whole.seconds == pytest.approx(5 * sum(cost.seconds for cost in costs))
    assert total(costs, [1, 0, 0, 0]) == Total(1, costs[0].steps, costs[0].images, costs[0].seconds)
    assert total(costs, [0, 0, 0, 0]) == Total()


def test_each_kind_of_trial_is_timed_once(monkeypatch):
    speed, spec = Speed(), load("smoke")
    plan = cells(spec)
    data = load_data(plan)
    estimate(spec, plan, data, speed)
    monkeypatch.setattr("study.estimate._timings", None)
    assert len(estimate(spec, plan, data, speed)) == 4


def test_times_of_other_sizes_follow_from_those_measured():
    timings = Timings({8: 1.8, 16: 2.6, 32: 4.2})  # 1 + 0.1 n
    assert timings.step(16) == 2.6
    assert timings.step(24) == pytest.approx(3.9)  # by images, from the size below
    assert timings.step(132) == pytest.approx(14.2)  # along the line through the last two
    assert timings.step(64, micro_batch=16) == pytest.approx(1 + 4 * 1.6)  # what no image adds is paid once
    assert timings.step(4) == 1.8
