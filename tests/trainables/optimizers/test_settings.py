"""What a spec may write, and the torch optimizer that it becomes."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from trainables.optimizers import CBLR, LAMB, LARS, MCLR, LayerWiseSettings, PercentDelta, optimizers

LAYER_WISE = {"lars": LARS, "percent_delta": PercentDelta, "mclr": MCLR, "cblr": CBLR}


def params() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize("name", LAYER_WISE)
def test_every_field_of_a_layer_wise_rule_reaches_torch(name: str) -> None:
    given: dict[str, Any] = {
        "gamma": 0.3, "beta": 0.1, "momentum": 0.5, "excluded_lr": 0.2, "r_max": 7.0, "floor": 0.25,
    }  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        "mclr": {"reading": "radius", "zero_mask": False, "sample": 9},
        "percent_delta": {"weight_floor": 0.5},
        "cblr": {"curvature": "gnb", "samples": 2, "interval": 3, "ema": 0.5, "layer_wise": True},
    }
    given |= own.get(name, {})
    built = optimizers.get(name)(**given).build(params())
    assert type(built) is LAYER_WISE[name]
    (group,) = built.param_groups
    torchs = {"gamma": "lr", "beta": "weight_decay"}
    assert {k: group[torchs.get(k, k)] for k in given} == given
    assert optimizers.get(name)(**given, exclude="none").build(params()).param_groups[0]["exclude"] == "none"


@pytest.mark.parametrize("name", LAYER_WISE)
def test_a_spec_and_a_constructor_have_the_same_defaults(name: str) -> None:
    spec = optimizers.get(name)(gamma=0.3).build(params())  # type: ignore[call-arg]
    assert spec.defaults == LAYER_WISE[name](params(), 0.3).defaults
    lamb = optimizers.get("lamb")(gamma=0.3).build(params())  # type: ignore[call-arg]
    assert lamb.defaults == LAMB(params(), 0.3).defaults


def test_lamb_maps_its_fields() -> None:
    lamb = optimizers.get("lamb").model_validate(
        {"gamma": 0.3, "beta": 0.1, "momentum": 0.5, "beta2": 0.7, "eps": 1e-3, "exclude": "none"}
    )
    (group,) = lamb.build(params()).param_groups
    assert [group[k] for k in ("lr", "weight_decay", "momentum", "beta2", "eps")] == [
        0.3,
        0.1,
        0.5,
        0.7,
        1e-3,
    ]


def test_sgd_is_torchs_with_nesterovs_momentum() -> None:
    built = optimizers.get("sgd").model_validate({"lr": 0.3, "beta": 0.1}).build(params())
    assert type(built) is torch.optim.SGD
    (group,) = built.param_groups
    assert [group[k] for k in ("lr", "weight_decay", "momentum", "nesterov")] == [0.3, 0.1, 0.9, True]


def test_nesterov_without_momentum_is_refused_with_the_remedy() -> None:
    sgd = optimizers.get("sgd")
    with pytest.raises(ValidationError, match="nesterov = True: wants momentum > 0; set nesterov: false"):
        sgd.model_validate({"lr": 0.3, "momentum": 0.0})
    assert sgd.model_validate({"lr": 0.3, "momentum": 0.0, "nesterov": False}).build(params())


@pytest.mark.parametrize("name", ["sgd", "lamb", *LAYER_WISE])
def test_the_rate_is_a_field_without_a_default(name: str) -> None:
    settings = optimizers.get(name)
    assert settings.model_fields[settings.rate].is_required()
    with pytest.raises(ValidationError, match="greater than 0"):
        settings.model_validate({settings.rate: 0})


@pytest.mark.parametrize("name", LAYER_WISE)
def test_the_constructors_begin_alike(name: str) -> None:
    words = list(inspect.signature(LAYER_WISE[name]).parameters)
    assert words[:4] == ["params", "lr", "momentum", "weight_decay"]
    assert issubclass(optimizers.get(name), LayerWiseSettings)
