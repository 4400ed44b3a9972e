"""A trial keeps its identity: what 9bd26f5 stored is found again, and a field that comes later leaves it alone."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import pytest

from tests.tiny import config
from trainables.config import TrialConfig
from trainables.optimizers.sgd import SGDSettings
from trainables.probes.guards import Guards
from trainables.settings import about
from trainables.tree import unflatten

# Configurations, and their hashes as commit 9bd26f5 computed them. A line that fails means that finished trials of
# existing studies would run again: give the new field `introduced`, or leave the old default where it was.
STORED: list[tuple[dict[str, Any], str]] = [
    ({}, "2d0f9ff55d9c0b5b"),
    ({"seed": 2147483647, "epochs": 200, "batch_size": 8192, "micro_batch": 512}, "a185822bc81fe29e"),
    ({"device": "cuda", "precision": "bfloat16", "threads": 4}, "f9c249bbd668797e"),
    ({"model": {"name": "alexnet"}}, "2d0f9ff55d9c0b5b"),
    ({"model": {"name": "alexnet", "width": 0.25, "dropout": 0, "init": "torch"}}, "48b6e41f8e9ea5ad"),
    ({"model": {"name": "resnet18"}}, "a5c83f577a9becaf"),
    ({"data": {"name": "cifar10"}}, "1e1c4286423c0607"),
    (
        {"data": {"name": "cifar10", "train_size": 5000, "validation": 0, "split_seed": 7, "augment": True}},
        "3d4ded3b5d147c89",
    ),
    ({"data": {"name": "digits"}}, "2d0f9ff55d9c0b5b"),
    ({"optimizer": {"lr": 0.1, "momentum": 0.0, "nesterov": False, "beta": 0.0005}}, "001d6e927654d532"),
    ({"optimizer": {"name": "lars", "gamma": 0.01}}, "0188643a495ac938"),
    ({"optimizer": {"name": "percent_delta", "gamma": 0.01}}, "0a0cda158c9535f2"),
    ({"optimizer": {"name": "lamb", "gamma": 0.01}}, "c91e41f861519660"),
    ({"optimizer": {"name": "mclr", "gamma": 0.01}}, "48cca78a5e673c4f"),
    ({"optimizer": {"name": "cblr", "gamma": 0.01}}, "149ffae262cb10d6"),
    (
        {
            "optimizer": {
                "name": "lars",
                "gamma": 0.5,
                "beta": 0.0001,
                "momentum": 0.95,
                "excluded_lr": 0.1,
                "exclude": "none",
                "r_max": 100,
                "floor": 1e-08,
            }
        },
        "0c81a6a689fb8da1",
    ),
    ({"optimizer": {"name": "lamb", "gamma": 0.5, "beta2": 0.99}}, "1dfda931326abaea"),
    ({"optimizer": {"name": "mclr", "gamma": 0.5, "reading": "signed", "zero_mask": False}}, "73d608ecd60d844a"),
    ({"optimizer": {"name": "mclr", "gamma": 0.5, "reading": "radius", "sample": 65536}}, "0f09ddfe87bb753a"),
    (
        {
            "optimizer": {
                "name": "cblr",
                "gamma": 0.5,
                "curvature": "gnb",
                "samples": 2,
                "interval": 5,
                "ema": 0.9,
                "layer_wise": True,
            }
        },
        "7c09ef6ebfda7aca",
    ),
    ({"schedule": {"name": "cosine", "warmup_epochs": 0.5}}, "dd3983701b28556b"),
    ({"schedule": {"name": "multistep"}}, "fd28c275bdee5c91"),
    ({"schedule": {"name": "multistep", "milestones": [0.3, 0.6, 0.9], "drop": 0.2}}, "389585e38200f866"),
    ({"schedule": {"name": "polynomial"}}, "8f703174931a9c68"),
    ({"schedule": {"name": "polynomial", "power": 1}}, "08d0427480454f55"),
    ({"schedule": {"name": "one_cycle"}}, "2ebf86d98b8b2a37"),
    ({"schedule": {"name": "one_cycle", "rise": 0.5, "start_div": 10, "end_div": 100}}, "a1bab4da8eba8380"),
    ({"trick": {"discard": {"p": 0.3, "epochs": 100}}}, "8da7141e220deaf5"),
    ({"trick": {"first_epoch": {"batch_size": 8, "lr": 0.005}}}, "affe831bbe093cd2"),
    ({"trick": {"grow": {"factor": 2, "every": 10}}}, "d0b37e65939e5436"),
    (
        {
            "trick": {
                "noise": {"sigma": 0.01, "epochs": 2},
                "discard_gradients": {"p": 0.4, "epochs": 2},
                "sharpen": {"factor": 2, "epochs": 2},
            }
        },
        "141a3f023700327f",
    ),
    (
        {
            "probe": {
                "gradient": {},
                "stride": {},
                "loss_stride": {},
                "noise_scale": {},
                "discard_gradient": {},
                "curvature_radius": {},
                "distance": {},
                "sharpness": {},
                "curvature": {},
                "guards": {},
                "radius": {},
            }
        },
        "872063cca1327ac4",
    ),
    ({"probe": {"gradient_law": {}}, "micro_batch": 4, "batch_size": 40}, "93201c414afc28d9"),
    (
        {
            "probe": {
                "noise_scale": {"steps": 5, "samples": 16, "entries": 1024},
                "sharpness": {"images": 100, "iterations": 20, "tolerance": 0.01},
                "curvature": {"samples": 4, "entries": 64},
                "distance": {"draws": 4, "floor": 0.1},
            }
        },
        "42230b359ebda56a",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), STORED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_configuration_keeps_the_hash_that_studies_have_stored(changes: dict[str, Any], expected: str) -> None:
    whole = config(**changes)
    assert whole.hash() == expected
    # the hash is of the very parameters that MLflow holds, so those are unchanged as well
    assert hashlib.sha256(json.dumps(whole.flat(), sort_keys=True).encode()).hexdigest()[:16] == expected


class Averaged(TrialConfig):
    """A configuration with a field that 9bd26f5 did not know."""

    average: Annotated[float, about("", "made up", introduced=0.0, ge=0)] = 0.0


class AveragedNow(TrialConfig):
    """The same some time later: the default has changed."""

    average: Annotated[float, about("", "made up", introduced=0.0, ge=0)] = 0.9


class DampedSGD(SGDSettings):
    """A plug-in with a new field."""

    dampening: Annotated[float, about("", "made up", introduced=0.0)] = 0.0


class EverySoOften(Guards):
    """A plug-in that had no field and gets its first one."""

    every: Annotated[int | None, about("", "made up", introduced=1)] = 1


def with_type(kind: type[TrialConfig], **changes: Any) -> TrialConfig:
    return kind.model_validate(config().model_dump() | changes)


def test_a_field_at_the_default_it_was_introduced_with_leaves_the_hash_alone() -> None:
    assert with_type(Averaged).flat() == config().flat()
    assert with_type(Averaged).hash() == config().hash()
    assert with_type(Averaged, average=0.5).hash() != config().hash()
    assert with_type(Averaged, average=0.5).flat()["average"] == 0.5


def test_a_default_that_changes_later_does_not_change_what_was_stored() -> None:
    assert with_type(AveragedNow).hash() == with_type(Averaged, average=0.9).hash() != config().hash()
    assert with_type(AveragedNow, average=0.0).hash() == config().hash()


def test_a_plug_ins_new_field_leaves_the_hash_alone() -> None:
    plain = config(probe={"guards": {}})

    def changed(**updates: Any) -> TrialConfig:
        return plain.model_copy(update=updates)

    assert changed(optimizer=DampedSGD(lr=0.02)).hash() == plain.hash()
    assert changed(optimizer=DampedSGD(lr=0.02, dampening=0.1)).hash() != plain.hash()
    assert changed(probe={"guards": EverySoOften()}).hash() == plain.hash()
    assert changed(probe={"guards": EverySoOften()}).flat()["probe/guards"] == {}
    assert changed(probe={"guards": EverySoOften(every=2)}).hash() != plain.hash()
    assert changed(probe={"guards": EverySoOften(every=None)}).hash() != plain.hash()


def test_a_flat_configuration_without_new_fields_is_read_back_as_it_was() -> None:
    assert Averaged.model_validate(unflatten(with_type(Averaged).flat())) == with_type(Averaged)
