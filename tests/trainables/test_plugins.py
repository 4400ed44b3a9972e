import inspect
from importlib.metadata import EntryPoint
from typing import get_type_hints

import pytest
from pydantic import ValidationError

import study.spec
import trainables.config
from tests.tiny import TINY, config
from trainables import plugins
from trainables.config import TrialConfig
from trainables.errors import Refused, explain
from trainables.optimizers import optimizers
from trainables.optimizers.settings import OptimizerSettings
from trainables.plugins import Registry
from trainables.probes import Observer
from trainables.tree import flatten, merge, unflatten
from trainables.tricks import Trick


def registry(monkeypatch, *values: tuple[str, str]) -> Registry:
    entries = [EntryPoint(name, value, "group.things") for name, value in values]
    monkeypatch.setattr(plugins, "entry_points", lambda **_: entries)
    return Registry("group.things")


def test_a_plug_in_of_another_package_is_found_by_its_name(monkeypatch):
    things = registry(monkeypatch, ("mine", "collections:OrderedDict"), ("yours", "collections:Counter"))
    assert things.names() == ["mine", "yours"]
    assert things.get("yours").__name__ == "Counter"


def test_two_plug_ins_of_one_name_are_refused(monkeypatch):
    things = registry(monkeypatch, ("mine", "collections:OrderedDict"), ("mine", "collections:Counter"))
    with pytest.raises(
        Refused, match=r"plug-in group.things = 'mine': is registered twice, as collections:Ordered.*uninst"
    ):
        things.names()


def test_one_plug_in_listed_twice_is_one(monkeypatch):
    things = registry(monkeypatch, ("mine", "collections:Counter"), ("mine", "collections:Counter"))
    assert things.names() == ["mine"]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(Refused, match=r"name = 'larz': none of the optimizers is called so; did you mean 'lars'\?"):
        optimizers.get("larz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"lr": -1}}, r"optimizer/lr = -1: must be greater than 0"),
        ({"optimizer": {"name": 3}}, r"optimizer/name = .*: a mapping with a name is wanted; known: "),
        ({"optimizer": None}, r"optimizer/name = None: a mapping with a name is wanted"),
        ({"trick": ["discard"]}, r"trick = \['discard'\]: a mapping of names to settings is wanted; known: discard"),
        ({"trick": {"discard": {"p": 0.1}}}, r"trick/discard/epochs = None: is required"),
        ({"model": {"widht": 1}}, r"model/widht = 1: unknown key; did you mean 'width'\?"),
        ({"epochs": "many"}, r"epochs = 'many': must be a valid integer"),
        ({"micro_batch": 0}, r"micro_batch = 0: must be greater than or equal to 1"),
        (
            {"schedule": {"name": "cosine", "warmup_epochs": 3}},
            r"schedule/warmup_epochs = 3.0: must be below epochs = 3",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence_about_one_field(changes, message):
    with pytest.raises(ValidationError) as caught:
        TrialConfig.model_validate(merge(TINY, changes))
    with pytest.raises(Refused, match=message):
        raise explain(caught.value)


def test_a_configuration_survives_its_flat_form():
    whole = config(trick={"discard": {"p": 0.3, "epochs": 2}}, probe={"guards": {}})
    assert TrialConfig.model_validate(unflatten(whole.flat())) == whole
    assert whole.flat()["trick/discard/p"] == 0.3
    assert whole.flat()["probe/guards"] == {}
    assert "micro_batch" not in whole.flat()


def test_plug_in_fields_have_types_that_mypy_sees():
    for module in (trainables.config, study.spec):
        assert "type: ignore" not in inspect.getsource(module)
    kinds = get_type_hints(TrialConfig)
    assert (kinds["optimizer"], kinds["trick"]) == (OptimizerSettings, dict[str, Trick])


def test_the_hash_tells_every_field_apart():
    others = [{"seed": 2}, {"optimizer": {"lr": 0.03}}, {"probe": {"guards": {}}}, {"threads": 2}, {"micro_batch": 4}]
    assert len({config(**changes).hash() for changes in [{}, *others]}) == 6
    assert config().hash() == config().hash()


def test_merge_goes_deep_and_another_name_starts_afresh():
    under = {"a": {"name": "x", "p": 1}, "b": 2}
    assert merge(under, {"a": {"q": 3}}) == {"a": {"name": "x", "p": 1, "q": 3}, "b": 2}
    assert merge(under, {"a": {"name": "x", "p": 5}})["a"] == {"name": "x", "p": 5}
    assert merge(under, {"a": {"name": "y"}})["a"] == {"name": "y"}
    assert under == {"a": {"name": "x", "p": 1}, "b": 2}


def test_flatten_keeps_empty_mappings_below_the_top():
    assert dict(flatten({"a": {"b": {}, "c": 1}, "d": {}})) == {"a/b": {}, "a/c": 1}


def test_a_trick_written_for_other_parameters_is_refused():
    """It would compare a step with an epoch, and do nothing without a word."""
    rule = r"before_step\(epoch, optimizer\)': is called as before_step\(step, optimizer\); give it these parameters"
    with pytest.raises(Refused, match=rule):

        class Old(Trick):
            def before_step(self, epoch, optimizer): ...


def test_an_observer_written_for_other_parameters_is_refused():
    rule = r"plug-in .*Old = 'after_part\(weights\)': is called as after_part\(part\); give it these parameters"
    with pytest.raises(Refused, match=rule):

        class Old(Observer):
            def after_part(self, weights): ...


def test_a_hook_may_leave_parameters_unnamed():
    class Careless(Observer):
        def after_part(self, _part): ...
        def before_step(self, *_): ...

    assert Careless().after_part(None) is None
