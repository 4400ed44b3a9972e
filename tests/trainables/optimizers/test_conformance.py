"""Every built-in optimizer against the suite that plug-ins inherit."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.trainables.optimizers.conformance import Conformance
from trainables.optimizers import optimizers


class TestSGD(Conformance):
    name = "sgd"
    fields: ClassVar[dict[str, Any]] = {"lr": 0.1}
    refuses_sparse_and_complex = False
    keeps_finite = False
    has_foreach = False


class TestLARS(Conformance):
    name = "lars"
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.02, "excluded_lr": 0.1}


class TestPercentDelta(Conformance):
    name = "percent_delta"
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.02, "excluded_lr": 0.1}


class TestLAMB(Conformance):
    name = "lamb"
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.02}


class TestMCLRAbs(Conformance):
    name = "mclr"
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.004, "excluded_lr": 0.1}


class TestMCLRSigned(Conformance):
    name = "mclr"
    fields: ClassVar[dict[str, Any]] = {
        "gamma": 0.004,
        "excluded_lr": 0.1,
        "reading": "signed",
        "r_max": 100.0,
    }


class TestMCLRRadius(Conformance):
    name = "mclr"
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.004, "excluded_lr": 0.1, "reading": "radius"}


class TestMCLRUnmasked(Conformance):
    name = "mclr"
    fields: ClassVar[dict[str, Any]] = {
        "gamma": 0.004,
        "excluded_lr": 0.1,
        "zero_mask": False,
        "r_max": 100.0,
    }


def test_every_built_in_optimizer_is_here() -> None:
    here = {suite.name for suite in Conformance.__subclasses__()}
    assert here >= {"sgd", "lars", "percent_delta", "lamb", "mclr"}
    assert here <= set(optimizers.names())
