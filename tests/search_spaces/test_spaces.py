from importlib.metadata import entry_points

import pytest

from search_spaces import Choice, Float, scaled, spaces
from search_spaces.table import TABLE
from trainables.config import TrialConfig
from trainables.optimizers import optimizers
from trainables.plugins import Registry
from trainables.tree import unflatten

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


RELATIVE = {  # γ of each rule, at every batch size
    "lars": (0.001, 0.1), "percent_delta": (0.0005, 0.3), "lamb": (0.0001, 0.01), "mclr": (1e-06, 0.01),
    "cblr": (1e-06, 0.01),
}  # fmt: skip
RATES = {16: (7.8125e-05, 0.01953125), 512: (0.001, 0.625), 4096: (0.001, 5.0), 49152: (0.001, 5.0)}
EXCLUDED = {16: (3.90625e-06, 0.00390625), 512: (0.000125, 0.125), 4096: (0.001, 1.0), 49152: (0.001, 1.0)}
SHARED = {
    "optimizer/momentum": Float(0.005, 0.3, log=True, complement=True), "optimizer/beta": Float(1e-05, 0.01, log=True),
}  # fmt: skip
SCHEDULE = {
    "schedule/name": Choice(("cosine", "polynomial", "multistep", "constant")),
    "schedule/warmup_epochs": Float(0.0, 1.4000000000000001),
}


@pytest.mark.parametrize("n", RATES)
def test_ranges_are_to_the_last_bit_those_that_studies_were_begun_with(n):
    """In this order, too: a sampler draws one after another."""
    expected = {"sgd": {"optimizer/lr": Float(*RATES[n], log=True), **SHARED, **SCHEDULE}}
    for name, ends in RELATIVE.items():
        excluded = {} if name == "lamb" else {"optimizer/excluded_lr": Float(*EXCLUDED[n], log=True)}
        expected[name] = {"optimizer/gamma": Float(*ends, log=True), **SHARED, **excluded, **SCHEDULE}
    expected["first_epoch"] = {"trick/first_epoch/lr": Float(0.0001, 0.1, log=True)}
    assert {name: list(spaces.get(name)(n, 7).items()) for name in expected} == {
        name: list(space.items()) for name, space in expected.items()
    }


def test_every_plug_in_of_ours_is_a_row_of_the_table_and_every_range_has_a_source():
    ours = {entry.name for entry in entry_points(group="search_spaces") if entry.value.startswith("search_spaces.")}
    assert set(TABLE) == ours
    assert all(len(row.source) > 10 for rows in TABLE.values() for row in rows)


def test_an_entry_of_a_package_of_its_own_is_found_beside_ours(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(
        "from search_spaces import Float\ndef space(batch_size, epochs):\n"
        "    return {'optimizer/lr': Float(0.1, batch_size)}\n"
    )
    info = tmp_path / "elsewhere-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: elsewhere\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[search_spaces]\nfrom_elsewhere = elsewhere:space\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry("search_spaces")
    assert registry.get("from_elsewhere")(64, 3) == {"optimizer/lr": Float(0.1, 64)}
    assert "sgd" in registry
