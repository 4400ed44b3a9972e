import pytest

from search_spaces import Choice, Float, scaled, spaces
from trainables.config import TrialConfig, unflatten
from trainables.optimizers import optimizers

SIZES = [1, 16, 64, 512, 8192, 49152]


@pytest.mark.parametrize("name", optimizers.names())
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("epochs", [1, 30])
def test_both_ends_of_every_range_are_values_the_optimizer_accepts(name, n, epochs):
    space = spaces.get(name)(n, epochs)
    rest = {"model/name": "alexnet", "data/name": "digits", "optimizer/name": name, "batch_size": n, "epochs": epochs,
            "seed": 0}  # fmt: skip
    for end in (0, -1):
        values = {key: range_.ends()[end] for key, range_ in space.items()}
        TrialConfig.model_validate(unflatten({**rest, **values}))


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_searches_its_rate_momentum_decay_schedule_and_warmup(name):
    space = spaces.get(name)(256, 10)
    rate = optimizers.get(name).rate
    assert {
        f"optimizer/{rate}",
        "optimizer/momentum",
        "optimizer/beta",
        "schedule/name",
        "schedule/warmup_epochs",
    } <= set(space)
    assert space["schedule/warmup_epochs"] == Float(0.0, 2.0)


def test_rates_grow_with_batch_size_up_to_a_bound():
    tops = [spaces.get("sgd")(n, 10)["optimizer/lr"].high for n in SIZES]
    assert tops == sorted(tops)
    assert tops[-1] == tops[-2] == 5.0
    assert scaled(1.0, 2.0, 10, full_at=100).ends() == (0.1, 0.2)


def test_a_complement_is_spread_over_one_minus_the_value():
    momentum = spaces.get("sgd")(256, 10)["optimizer/momentum"]
    assert momentum.ends() == pytest.approx((0.995, 0.7))
    assert momentum.value(momentum.centre()) == pytest.approx(1 - (5e-3 * 0.3) ** 0.5)


def test_a_choice_starts_with_the_usual_one():
    assert Choice(("a", "b")).centre() == "a"
