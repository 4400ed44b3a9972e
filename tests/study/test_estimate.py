import pytest

from study.estimate import estimate
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
