import pytest

from study.plan import cells
from study.sources import builtin
from study.spec import Spec, load, parse
from tests.study.commands import SMOKE
from trainables.errors import Refused


@pytest.mark.parametrize("name", builtin())
def test_every_built_in_spec_is_valid_and_survives_its_own_dump(name):
    spec = load(name)
    assert spec.name == name
    assert spec.question.endswith("?") or name == "smoke"
    assert parse(spec.dump(), "dump") == spec
    assert len(cells(spec)) == len(spec.arms) * len(spec.batch_sizes)


def test_a_file_and_the_built_in_name_give_the_same_spec():
    assert load(str(SMOKE)) == load("smoke")


def test_the_small_twin_is_the_built_in_of_that_name():
    assert load("cifar10", scale="small") == load("cifar10-small")


def test_overrides_reach_any_depth_and_are_yaml():
    spec = load("smoke", overrides=["search/trials=7", "arms/sgd/optimizer/lr={low: 0.01, high: 1}", "base/epochs=3"])
    assert spec.search.trials == 7
    assert spec.arms["sgd"]["optimizer"] == {"name": "sgd", "momentum": 0.9, "lr": {"low": 0.01, "high": 1}}
    assert spec.base["epochs"] == 3


def test_an_override_that_names_another_optimizer_starts_it_afresh():
    spec = load("smoke", overrides=["arms/sgd/optimizer={name: lars, gamma: 0.1}"])
    assert spec.arms["sgd"]["optimizer"] == {"name": "lars", "gamma": 0.1}


def test_a_plug_in_may_be_named_alone_and_a_trick_left_without_options():
    spec = load("smoke", overrides=["base/schedule=constant", "base/probe={guards: null}"])
    assert spec.base["schedule"] == {"name": "constant"}
    assert cells(spec)[0].typical.flat()["probe/guards"] == {}


def test_specs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load("smoke").name = "other"


def test_yaml_1e_3_is_a_number_here():
    spec = load("smoke", overrides=["arms/sgd/optimizer/lr=1e-3"])
    assert cells(spec)[0].typical.optimizer.lr == 1e-3


def test_a_repeated_key_is_refused():
    with pytest.raises(Refused, match=r"line 2.*not valid YAML.*'name' stands twice"):
        parse("name: a\nname: b\n", "file.yaml")


def test_the_spec_of_the_design_is_accepted():
    spec = parse(
        """
        name: mine
        question: Does discarding small-loss samples close the gap?
        base: {model: {name: alexnet, width: 0.25}, data: {name: cifar10, train_size: 5000}, epochs: 12}
        arms:
          sgd: {optimizer: {name: sgd}}
          lars: {optimizer: {name: lars, gamma: 0.01}}
          sgd-discard: {optimizer: {name: sgd}, trick: {discard: {p: 0.3, epochs: 8}}}
        batch_sizes: [32, 128, 512]
        baseline: {arm: sgd, batch_size: 32}
        search: {trials: 12, sampler: tpe, pruner: none, seed: 0, window: 4}
        confirm: {seeds: 5}
        resources: {cpus: 1, gpus: 0}
        """,
        "design",
    )
    assert isinstance(spec, Spec)
    assert len(cells(spec)) == 9
