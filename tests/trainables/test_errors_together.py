"""Several mistakes in one request are told at once, each on a line of its own."""

from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from trainables.config import TrialConfig
from trainables.errors import MOST, Refused, explain, together

ONE, TWO = Refused("a", 1, "must be 2", "correct it"), Refused("b", "x", "is no number", "correct it, too")


def test_each_mistake_has_its_line_and_what_is_said_twice_stands_once():
    whole = together([ONE, TWO, together([Refused("a", 1, "must be 2", "correct it")])])
    assert str(whole) == "a = 1: must be 2; correct it\nb = 'x': is no number; correct it, too"
    assert str(whole.under("arms/sgd")).splitlines()[1].startswith("arms/sgd/b = 'x'")
    assert str(pickle.loads(pickle.dumps(whole))) == str(whole)
    assert [each.field for each in whole.apart()] == ["a", "b"]
    assert ONE.others == (), "those given stay as they were"
    with pytest.raises(Refused, match=r"(?s)^a = 1.*b = 'x'"):
        raise whole


def test_more_mistakes_than_one_reads_are_counted():
    lines = str(together(Refused(str(n), n, "is wrong", "mend it") for n in range(MOST + 3))).splitlines()
    assert len(lines) == MOST + 1
    assert lines[-1] == "and 3 more"


def test_all_complaints_about_a_configuration_are_told():
    with pytest.raises(ValidationError) as caught:
        TrialConfig.model_validate(
            {"model": {"name": "alexnet", "width": -1}, "epochs": 0, "optimizer": {"name": "adamm"}}
        )
    fields = {each.field for each in explain(caught.value).apart()}
    assert {"model/width", "epochs", "optimizer/name"} <= fields


def test_a_list_with_a_bad_item_is_not_also_too_short():
    from study.spec import Spec  # a study's, above trials; its lists are what this is about

    with pytest.raises(ValidationError) as caught:
        Spec.model_validate({"name": "x", "arms": {}, "batch_sizes": [0], "baseline": {}})
    told = [each.field for each in explain(caught.value).apart() if each.field.startswith("batch_sizes")]
    assert told == ["batch_sizes/0"]
