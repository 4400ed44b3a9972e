import pytest

from search_spaces import Choice, Float
from study.plan import cells, data_key, load_data, search_seed
from study.spec import load
from trainables.errors import Refused


def only(**overrides):
    words = [f"{key}={value}" for key, value in overrides.items()]
    return cells(load("smoke", overrides=words))


def test_cells_are_arms_times_batch_sizes_in_the_specs_order():
    assert [cell.name for cell in only()] == ["sgd/16", "sgd/64", "lars/16", "lars/64"]


def test_a_fixed_value_is_not_searched():
    sgd = only()[0]
    assert sgd.fixed["optimizer/momentum"] == 0.9
    assert set(sgd.space) == {"optimizer/lr", "optimizer/beta"}


def test_without_a_search_everything_must_be_fixed():
    with pytest.raises(Refused, match=r"arms/sgd/optimizer/lr = None: is required; give it a value in the spec"):
        only(**{"search/trials": 0})


def test_a_search_of_fixed_values_has_no_space():
    plan = only(**{"arms/sgd/optimizer": "{lr: 0.1, beta: 0}"})
    assert [cell.space for cell in plan if cell.arm == "sgd"] == [{}, {}]


def test_a_range_of_the_specs_own_replaces_the_usual_one():
    own = ["arms/sgd/optimizer/lr={low: 0.01, high: 1, log: true}", "base/schedule/name={choices: [cosine, constant]}"]
    spec = load("smoke", overrides=own)
    space = cells(spec)[0].space
    assert space["optimizer/lr"] == Float(0.01, 1.0, log=True)
    assert space["schedule/name"] == Choice(("cosine", "constant"))


@pytest.mark.parametrize(
    ("range_", "message"),
    [
        ("{low: -1, high: 1}", r"optimizer/lr = .*leaves the field's domain \(must be greater than 0\)"),
        ("{low: 1, high: 0.1}", "low is below high"),
        ("{low: 0, high: 1, log: true}", "above 0 if log"),
        ("{low: a, high: 1}", "low and high are numbers"),
    ],
)
def test_a_range_outside_the_domain_is_refused(range_, message):
    with pytest.raises(Refused, match=message):
        only(**{"arms/sgd/optimizer/lr": range_})


def test_a_range_where_nothing_is_searched_is_refused():
    with pytest.raises(Refused, match="arms/sgd/optimizer/lr = 'a range': search/trials is 0"):
        only(**{"search/trials": 0, "arms/sgd/optimizer/lr": "{low: 0.1, high: 1}"})


@pytest.mark.parametrize(("scale", "factor"), [("linear", 4), ("sqrt", 2), ("constant", 1)])
def test_a_value_follows_the_batch_size(scale, factor):
    small, large = only(**{"arms/sgd/optimizer/lr": f"{{value: 0.02, at: 16, scale: {scale}}}"})[:2]
    assert small.fixed["optimizer/lr"] == 0.02
    assert large.fixed["optimizer/lr"] == pytest.approx(0.02 * factor)
    assert "optimizer/lr" not in large.space


@pytest.mark.parametrize("exponent", [-1, 0, 0.83])
def test_a_power_has_an_exponent_of_its_own(exponent):
    rate = f"{{value: 0.02, at: 16, scale: power, exponent: {exponent}}}"
    small, large = only(**{"arms/sgd/optimizer/lr": rate})[:2]
    assert small.fixed["optimizer/lr"] == 0.02
    assert large.fixed["optimizer/lr"] == pytest.approx(0.02 * 4**exponent)


def test_a_field_of_whole_numbers_is_rounded_up():
    plan = only(**{"base/epochs": "{value: 3, at: 48, scale: linear}", "base/schedule/warmup_epochs": "0.5"})
    assert [cell.typical.epochs for cell in plan[:2]] == [1, 4]
    assert all(isinstance(cell.fixed["epochs"], int) for cell in plan)


def test_options_of_tricks_follow_the_batch_size_too():
    scaled = "{batch_size: {value: 3, at: 16, scale: sqrt}, lr: {value: 0.01, at: 16, scale: sqrt}}"
    plan = only(**{"arms/sgd/trick/first_epoch": scaled})
    tricks = [cell.typical.trick["first_epoch"] for cell in plan[:2]]
    assert [(trick.batch_size, trick.lr) for trick in tricks] == [(3, 0.01), (6, 0.02)]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("base/epochs", "{value: 2, at: 16, scale: lineer}",
         r"scale = 'lineer': there is no such rule; did you mean 'linear'\? known: constant, linear, power, sqrt"),
        ("base/epochs", "{value: 2, at: 16, scale: power}", r"epochs/exponent = None: scale: power wants a number"),
        ("base/epochs", "{value: 2, at: 16, scale: power, exponent: .inf}", r"epochs/exponent = inf: scale: power"),
        ("base/epochs", "{value: 2, at: 16, scale: sqrt, exponent: 2}",
         r"epochs/exponent = 2: scale: sqrt has none; leave it out, or use scale: power"),
        ("base/epochs", "{value: 2, exponent: 2}", r"epochs = .*: a value that depends on the batch size has value"),
        ("base/epochs", "{value: 2, at: 16}", r"epochs = .*: a value that depends on the batch size has value"),
        ("base/epochs", "{value: 2, at: 16, scale: sqrt, low: 1}", r"epochs = .*: a value that depends on the batch"),
        ("base/epochs", "{value: two, at: 16, scale: sqrt}", r"epochs/value = 'two': a number is wanted"),
        ("base/epochs", "{value: 2, at: 0, scale: sqrt}", r"epochs/at = 0: a batch size is wanted"),
        ("arms/sgd/optimizer/momentum", "{value: 0.9, at: 16, scale: linear}",
         r"arms/sgd/optimizer/momentum = 3\.6: must be less than 1, at batch size 64 \(0\.9 at 16, linear\); change"),
        ("arms/sgd/optimizer/momentum", "{value: 0.8, at: 16, scale: power, exponent: 0.5}",
         r"momentum = 1\.6: must be less than 1, at batch size 64 \(0\.8 at 16, power 0\.5\); change"),
        ("base/schedule/warmup_epochs", "{value: 1, at: 16, scale: linear}",
         r"warmup_epochs = 4\.0: must be below epochs = 2, at batch size 64 \(1 at 16, linear\)"),
        ("arms/sgd/optimizer/speed", "{value: 1, at: 16, scale: linear}", r"optimizer/speed = 1.0: unknown key"),
    ],
)  # fmt: skip
def test_a_value_that_follows_the_batch_size_wrongly_is_refused(key, value, message):
    with pytest.raises(Refused, match=message):
        only(**{key: value})


@pytest.mark.parametrize("seed", [0, 1, 9999])
def test_a_search_trial_has_a_seed_that_no_confirm_trial_can_have_and_no_other_search(seed):
    """Confirm seeds are 0 to confirm/seeds - 1, at most 9,999; no trial takes a seed of 2³¹ or more."""
    spec = load("smoke", overrides=[f"search/seed={seed}", "confirm/seeds=10000"])
    first, last = search_seed(spec, 0), search_seed(spec, 9999)
    assert (first, last) == (10_000 + 10_000 * seed, 19_999 + 10_000 * seed)
    assert spec.confirm.seeds - 1 < first < last < 2**31
    with pytest.raises(Refused, match=r"confirm/seeds = 10001: must be less than or equal to 10000"):
        load("smoke", overrides=["confirm/seeds=10001"])
    with pytest.raises(Refused, match=r"search/seed = 10000: must be less than 10000"):
        load("smoke", overrides=["search/seed=10000"])


def test_each_data_set_is_loaded_once():
    plan = only()
    assert list(load_data(plan)) == [data_key(plan[0].typical)]


def test_data_that_are_known_are_not_read_again():
    plan = only()
    known = load_data(plan)
    splits = next(iter(known.values()))
    assert next(iter(load_data(plan, known).values())) is splits


def test_a_batch_larger_than_the_training_split_is_refused():
    with pytest.raises(Refused, match=r"arms/sgd/batch_size = 181: the training split has 180 images"):
        load_data(only(batch_sizes="[16, 181]"))
