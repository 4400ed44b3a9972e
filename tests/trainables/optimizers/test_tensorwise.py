"""Splitting, guards, radii, arguments and the promise of no host synchronisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta

ALL = [LARS, PercentDelta, MCLR, LAMB]
Make = Callable[..., Any]


def parameter(w: Any, g: Any) -> nn.Parameter:
    p = nn.Parameter(torch.tensor(w, dtype=torch.float64))
    p.grad = torch.tensor(g, dtype=torch.float64)
    return p


# Splitting


def summary(optimizer: torch.optim.Optimizer) -> list[tuple[bool, int, float, float]]:
    return [(g["excluded"], len(g["params"]), g["lr"], g["weight_decay"]) for g in optimizer.param_groups]


def test_tensors_of_one_dimension_or_none_get_their_own_group_without_decay() -> None:
    params = [parameter([[1.0]], [[1.0]]), parameter([1.0], [1.0]), parameter(1.0, 1.0)]
    lars = LARS(params, 0.3, weight_decay=0.1, excluded_lr=0.02)
    assert summary(lars) == [(False, 1, 0.3, 0.1), (True, 2, 0.02, 0.0)]
    assert summary(LAMB(params, 0.3, weight_decay=0.1)) == [(False, 1, 0.3, 0.1), (True, 2, 0.3, 0.0)]
    assert summary(LARS(params, 0.3, weight_decay=0.1, exclude="none")) == [(False, 3, 0.3, 0.1)]


def test_each_given_group_is_split_with_its_own_options() -> None:
    a, b, c = parameter([[1.0]], [[1.0]]), parameter([1.0], [1.0]), parameter([1.0], [1.0])
    lars = LARS([{"params": [a, b], "excluded_lr": 0.5}, {"params": [c], "exclude": "none"}], 0.3)
    assert summary(lars) == [(False, 1, 0.3, 0.0), (True, 1, 0.5, 0.0), (False, 1, 0.3, 0.0)]


def test_maximize_is_minus_minimize() -> None:
    for make in ALL:
        up, down = parameter([[1.0, 2.0]], [[0.3, -0.4]]), parameter([[1.0, 2.0]], [[-0.3, 0.4]])
        make([up], 0.1, maximize=True).step()
        make([down], 0.1).step()
        assert torch.equal(up, down)


# Guards and radii


def fired(optimizer: Any) -> dict[str, int]:
    return {name: counts["0.0"] for name, counts in optimizer.guards().items() if counts["0.0"]}


@pytest.mark.parametrize(
    ("make", "w", "g", "expected"),
    [
        (lambda p: LARS(p, 1e-3), [[3.0, 4.0]], [[1.0, 0.0]], {}),
        (lambda p: LARS(p, 1e-3, floor=2.0), [[3.0, 4.0]], [[1.0, 0.0]], {"floor": 2}),
        (lambda p: LARS(p, 1e-9, r_max=0.5), [[3.0, 4.0]], [[1.0, 0.0]], {"r_max": 2}),
        (lambda p: LARS(p, 1e-3), [[0.0, 0.0]], [[1.0, 0.0]], {"frozen": 2}),
        (lambda p: LARS(p, 1e300), [[3.0, 4.0]], [[1.0, 0.0]], {"overflow": 1}),
        (lambda p: PercentDelta(p, 1e-3, floor=2.0), [[3.0, 4.0]], [[1.0, 0.0]], {"floor": 2}),
        (lambda p: MCLR(p, 1e-3), [[3.0, 4.0]], [[1.0, 2.0]], {}),
        (lambda p: MCLR(p, 1e-3), [[3.0, 4.0]], [[1.0, 0.0]], {"masked": 2}),
        (lambda p: MCLR(p, 1e-3), [[3.0, 4.0]], [[0.0, 0.0]], {"masked": 2, "floor": 2, "frozen": 2}),
        (
            lambda p: MCLR(p, 1e-3, zero_mask=False),
            [[3.0, 4.0, 5.0]],
            [[1.0, 0.0, 0.0]],
            {"floor": 2, "r_max": 2},
        ),
        (lambda p: LAMB(p, 1e-3), [[3.0, 4.0]], [[1.0, 0.0]], {}),
        (lambda p: LAMB(p, 1e-3), [[3.0, 4.0]], [[0.0, 0.0]], {"zero_norm": 2}),
    ],
)
def test_a_guard_counts_the_steps_it_fired_in(make: Make, w: Any, g: Any, expected: dict[str, int]) -> None:
    p = parameter(w, g)
    optimizer = make([p])
    optimizer.step()
    if "overflow" not in expected:  # that one step leaves nothing to repeat
        optimizer.step()
    assert fired(optimizer) == expected


def test_guards_name_the_tensor_and_reset() -> None:
    calm, wild = parameter([[3.0, 4.0]], [[1.0, 0.0]]), parameter([[3.0, 4.0]], [[1e-9, 0.0]])
    silent = nn.Parameter(torch.ones(2, 2))
    lars = LARS([calm, silent, wild], 1e-9)
    for _ in range(3):
        lars.step()
    assert lars.guards(reset=True)["r_max"] == {"0.0": 0, "0.2": 3}
    lars.step()
    assert lars.guards()["r_max"] == {"0.0": 0, "0.2": 1}
    assert set(lars.guards()) == {"floor", "r_max", "frozen", "overflow"}


def test_guards_and_radii_print_as_names_and_numbers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net(torch.ones(1, 2)).sum().backward()
    for params, names in [(net.named_parameters(), ["0.weight", "1.weight"]), (net.parameters(), ["0.0", "0.1"])]:
        lars = LARS(params, 0.1)
        lars.step()
        assert list(lars.radii()) == names
        assert set(names) < set(lars.guards()["floor"])
        assert "Parameter" not in f"{lars.radii()} {lars.guards()}"


def test_guards_keep_the_radius_within_floor_and_cap() -> None:
    w, g = [[3.0, 4.0]], [[1.0, 0.0]]
    for options, radius in [({}, 5.0), ({"floor": 10.0}, 0.5), ({"r_max": 2.0}, 2.0)]:
        p = parameter(w, g)
        lars = LARS([p], 0.1, **options)  # type: ignore[arg-type]
        lars.step()
        assert lars.radii()["0.0"] == pytest.approx(radius)
        assert p[0, 0].item() == pytest.approx(3.0 - 0.1 * radius)


def test_radii_are_the_last_steps_in_order_and_leave_out_the_excluded() -> None:
    a, bias, b = parameter([[2.0]], [[1.0]]), parameter([1.0], [1.0]), parameter([[3.0]], [[-1.0]])
    lars = LARS([a, bias, b], 0.5, momentum=0.0)
    assert lars.radii() == {}
    lars.step()
    assert list(lars.radii().items()) == [("0.0", 2.0), ("0.1", 3.0)]
    lars.step()
    assert list(lars.radii().values()) == pytest.approx([1.0, 4.5])


def test_a_tensor_too_large_for_a_float32_norm_still_takes_its_relative_step() -> None:
    p = nn.Parameter(torch.full((20, 20), 1e25))
    p.grad = torch.full((20, 20), 1e22)
    lars = LARS([p], 0.01)
    lars.step()
    torch.testing.assert_close(p.detach(), torch.full((20, 20), 0.99e25))
    assert fired(lars) == {}


def test_a_flat_direction_at_a_weight_of_zero_has_an_infinite_radius_not_an_undefined_one() -> None:
    p = parameter([[0.0, 0.0, 1.0]], [[0.0, 0.0, 1.0]])
    mclr = MCLR([p], 1e-3, reading="radius", zero_mask=False, r_max=50.0)
    mclr.step()
    assert mclr.radii()["0.0"] == 50
    assert p.tolist() == [[0.0, 0.0, 0.95]]


def test_weight_decay_zero_still_adapts() -> None:
    for make in ALL:
        p = parameter([[3.0, 4.0]], [[1e-3, 2e-3]])
        optimizer = make([p], 0.01, weight_decay=0.0)
        optimizer.step()
        assert optimizer.radii()["0.0"] != pytest.approx(1.0, abs=0.1)


# Arguments

WRONG = [
    ("lr", -0.1, r"lr = -0\.1: must be a finite number ≥ 0"),
    ("lr", float("inf"), "lr = inf: must be a finite number ≥ 0"),
    ("lr", float("nan"), "lr = nan: must be a finite number ≥ 0"),
    ("lr", "fast", "lr = 'fast': must be a finite number ≥ 0"),
    ("momentum", 1.0, r"momentum = 1\.0: must lie in \[0, 1\)"),
    ("weight_decay", -1.0, r"weight_decay = -1\.0: must be a finite number ≥ 0"),
    ("exclude", "bias", "exclude = 'bias': must be one of 1d, none"),
]
WRONG_LAYER_WISE = [
    ("excluded_lr", -1.0, r"excluded_lr = -1\.0: must be a finite number ≥ 0"),
    ("r_max", 0.0, r"r_max = 0\.0: must be a finite number > 0"),
    ("floor", 0.0, r"floor = 0\.0: must be a finite number ≥ 1e-30"),
]


@pytest.mark.parametrize(
    ("make", "name", "value", "message"),
    [(make, *wrong) for make in ALL for wrong in WRONG]
    + [(make, *wrong) for make in (LARS, PercentDelta, MCLR) for wrong in WRONG_LAYER_WISE]
    + [
        (PercentDelta, "weight_floor", 0.0, r"weight_floor = 0\.0: must be a finite number ≥ 1e-30"),
        (MCLR, "reading", "mean", "reading = 'mean': must be one of abs, signed, radius"),
        (MCLR, "sample", 0, "sample = 0: must be None or a whole number ≥ 1"),
        (CBLR, "samples", 0, "samples = 0: must be a whole number ≥ 1"),
        (CBLR, "interval", 1.5, r"interval = 1\.5: must be a whole number ≥ 1"),
        (CBLR, "ema", 1.0, r"ema = 1\.0: must lie in \[0, 1\)"),
        (CBLR, "curvature", "true", "curvature = 'true': must be one of hutchinson, gnb, exact"),
        (LAMB, "beta2", 1.0, r"beta2 = 1\.0: must lie in \[0, 1\)"),
        (LAMB, "eps", 0.0, r"eps = 0\.0: must be a finite number ≥ 1e-30"),
    ],
)
def test_an_argument_outside_its_domain_is_refused(make: Make, name: str, value: Any, message: str) -> None:
    p = parameter([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match=message):
        make([p], **{"lr": 0.1, name: value})
    with pytest.raises(ValueError, match=message):  # in a group's own options
        make([{"params": [p], name: value}], lr=0.1)


def test_parameters_without_an_order_or_not_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="LARS takes parameters in an order, and a set has none; give a list"):
        LARS([{"params": {parameter([[1.0]], [[1.0]])}}], 0.1)
    with pytest.raises(TypeError, match=r"MCLR takes real floating-point tensors, not torch\.int64"):
        MCLR([torch.ones(2, 2, dtype=torch.long)], 0.1)
    with pytest.raises(TypeError, match="MCLR takes real floating-point tensors, not str"):
        MCLR(["weight"], 0.1)


def test_one_bare_tensor_is_a_group() -> None:
    p = parameter([[3.0, 4.0]], [[1.0, 0.0]])
    LARS([{"params": p}], 0.1).step()
    assert p[0, 0].item() == pytest.approx(2.5)


# A GPU

READINGS: list[Make] = [lambda p, r=r, **o: MCLR(p, 0.1, reading=r, **o) for r in ("abs", "signed", "radius")]
MAKES: list[Make] = [lambda p, c=c, **o: c(p, 0.1, **o) for c in (LARS, PercentDelta, LAMB)]


@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [*MAKES, *READINGS])
def test_a_step_on_a_gpu_asks_the_host_for_nothing(make: Make, dtype: torch.dtype, foreach: Any) -> None:
    """A fake GPU has shapes and no values: whatever would wait for a value raises."""
    with FakeTensorMode():
        params = [nn.Parameter(torch.empty(s, device="cuda", dtype=dtype)) for s in [(4, 5), (6,), (3, 2)]]
        for p in params:
            p.grad = torch.empty_like(p)
        optimizer = make(params, weight_decay=0.1, foreach=foreach)
        optimizer.step()
        optimizer.step()
        with pytest.raises(DataDependentOutputException):  # the fake does notice
            optimizer.guards()
