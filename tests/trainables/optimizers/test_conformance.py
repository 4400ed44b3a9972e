"""Every built-in optimizer against the suite that plug-ins inherit."""

from __future__ import annotations

from typing import Any, ClassVar

from torch.optim import Optimizer

from trainables.optimizers import optimizers
from trainables.testing import Conformance


class TestSGD(Conformance):
    name = "sgd"
    fields: ClassVar[dict[str, Any]] = {"lr": 0.1}
    refuses_sparse_and_complex = False
    keeps_finite = False
    has_foreach = False
    suggests_names = False
    fills_in_options = False


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


class TestCBLR(Conformance):
    name = "cblr"
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.01, "excluded_lr": 0.1, "r_max": 10.0, "interval": 2}

    def without_loss(self, optimizer: Optimizer) -> Optimizer:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if not p.grad.is_sparse:  # a curvature as extreme as the gradient
                    optimizer.state[p]["curvature"] = p.grad.clone().nan_to_num(1.0, 1.0, 1.0)
        return optimizer


class TestCBLRLayerWise(TestCBLR):
    fields: ClassVar[dict[str, Any]] = {"gamma": 0.01, "excluded_lr": 0.1, "layer_wise": True, "samples": 2}


def test_every_built_in_optimizer_is_here() -> None:
    here = {suite.name for suite in Conformance.__subclasses__()}
    assert here >= {"sgd", "lars", "percent_delta", "lamb", "mclr", "cblr"}
    assert here <= set(optimizers.names())
