"""Excluded tensors, guards, radii, arguments and the promise of no host synchronisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from trainables.optimizers import CBLR, LAMB, LARS, MCLR, Batch, LayerWise, PercentDelta
from trainables.optimizers.options import Rule, at_least, rules

ALL = [LARS, PercentDelta, MCLR, LAMB]
Make = Callable[..., Any]


def parameter(w: Any, g: Any) -> nn.Parameter:
    p = nn.Parameter(torch.tensor(w, dtype=torch.float64))
    p.grad = torch.tensor(g, dtype=torch.float64)
    return p


# Excluded tensors


def moves(optimizer: Any, params: list[nn.Parameter]) -> list[float]:
    """How far each one-entry parameter moves in a step."""
    before = [p.item() for p in params]
    optimizer.step()
    return [old - p.item() for old, p in zip(before, params, strict=True)]


def trio() -> list[nn.Parameter]:
    """A weight, a bias and a number, each 2 with gradient 1: R of the weight is 2 and its decay is 2 β."""
    return [parameter([[2.0]], [[1.0]]), parameter([2.0], [[1.0]][0]), parameter(2.0, 1.0)]


def test_tensors_of_one_dimension_or_none_move_at_their_own_rate_without_decay() -> None:
    params = trio()
    assert moves(LARS(params, 0.1, excluded_lr=0.02), params) == pytest.approx([0.2, 0.02, 0.02])
    params = trio()
    decayed = moves(LARS(params, 0.1, excluded_lr=0.02, weight_decay=0.5), params)
    assert decayed == pytest.approx([0.1 * 2 / (1 + 0.5 * 2) * (1 + 0.5 * 2), 0.02, 0.02])
    params = trio()
    assert moves(LARS(params, 0.1, exclude="none"), params) == pytest.approx([0.2, 0.2, 0.2])
    params = trio()
    assert moves(LAMB(params, 0.1), params) == pytest.approx([0.2, 0.1, 0.1], rel=1e-5)


@pytest.mark.parametrize("make", ALL)
def test_a_group_of_biases_that_states_rate_and_decay_has_them(make: Make) -> None:
    """The example of a report: the bias used to train at 0.01 without decay, whatever its group said."""
    w, b, _ = trio()
    optimizer = make([{"params": [w]}, {"params": [b], "lr": 0.5, "weight_decay": 0.3}], momentum=0.0)
    assert moves(optimizer, [b]) == pytest.approx([0.5 * (1 + 0.3 * 2)], rel=1e-5)
    optimizer.param_groups[1]["lr"] = 0.0
    assert moves(optimizer, [b]) == [0.0]


def test_a_mixed_group_shares_its_schedule_not_its_rate() -> None:
    for factor in (1.0, 0.5, 2.0, 0.0):
        params = trio()
        lars = LARS([{"params": params, "lr": 0.3, "weight_decay": 0.1}], excluded_lr=0.02)
        lars.param_groups[0]["lr"] = 0.3 * factor
        assert moves(lars, params)[1:] == pytest.approx([0.02 * factor] * 2)
        assert lars.excluded_rate(lars.param_groups[0]) == pytest.approx(0.02 * factor)


@pytest.mark.parametrize("now", [0.0, 1e-3, 0.1])
def test_beside_a_rate_of_0_at_construction_excluded_tensors_wait_for_any_other(now: float) -> None:
    params = trio()
    lars = LARS(params, lr=0.0, excluded_lr=0.02)
    lars.param_groups[0]["lr"] = now
    assert moves(lars, params)[1] == pytest.approx(0.02 if now else 0.0)


@settings(deadline=None)
@given(st.floats(1e-8, 1e3), st.floats(0, 1e3))
def test_the_schedules_factor_is_the_trials_own_to_the_bit(gamma: float, rate: float) -> None:
    """Trials of earlier versions gave excluded tensors `excluded_lr` · (rate / γ), and go on with those bits."""
    lars = LARS([parameter([[1.0]], [[1.0]])], gamma, excluded_lr=0.37)
    (group,) = lars.param_groups
    group["lr"] = gamma * (rate / gamma)
    assert lars.excluded_rate(group) == 0.37 * (rate / gamma)


def test_a_group_added_later_states_its_rate_alike() -> None:
    w, b, c = trio()
    lars = LARS([w], 0.1, excluded_lr=0.02)
    lars.add_param_group({"params": b, "lr": 0.5})
    lars.add_param_group({"params": (p for p in [c])})
    assert moves(lars, [b, c]) == pytest.approx([0.5, 0.02])


@pytest.mark.parametrize("make", [LARS, PercentDelta, MCLR])
def test_biases_of_zeros_train_where_none_are_excluded(make: Make) -> None:
    p = parameter([0.0, 0.0], [1.0, -2.0])
    optimizer = make([p], 0.1, exclude="none")
    optimizer.step()
    assert p.tolist() == pytest.approx([-0.1, 0.2]), "momentum SGD's first step at rate γ"


def test_a_tensor_that_is_mostly_zeros_is_not_frozen_either() -> None:
    p = parameter([[0.0, 0.0, 1.0]], [[1.0, 1.0, 1.0]])
    MCLR([p], 0.1).step()
    assert p.tolist()[0] == pytest.approx([-0.1, -0.1, 0.9])


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
        (lambda p: LARS(p, 1e-3), [[0.0, 0.0]], [[1.0, 0.0]], {"zero_radius": 1}),
        (lambda p: LARS(p, 1e300), [[3.0, 4.0]], [[1.0, 0.0]], {"overflow": 1}),
        (lambda p: PercentDelta(p, 1e-3, floor=2.0), [[3.0, 4.0]], [[1.0, 0.0]], {"floor": 2}),
        (lambda p: MCLR(p, 1e-3), [[3.0, 4.0]], [[1.0, 2.0]], {}),
        (lambda p: MCLR(p, 1e-3), [[3.0, 4.0]], [[1.0, 0.0]], {"masked": 2}),
        (lambda p: MCLR(p, 1e-3), [[3.0, 4.0]], [[0.0, 0.0]], {"masked": 2, "floor": 2}),
        (
            lambda p: MCLR(p, 1e-3, zero_mask=False),
            [[3.0, 4.0, 5.0]],
            [[1.0, 0.0, 0.0]],
            {"floor": 2, "r_max": 2},
        ),
        (lambda p: PercentDelta(p, 1e-3), [[0.0, 0.0]], [[1.0, 2.0]], {"zero_radius": 1}),
        (lambda p: MCLR(p, 1e-3), [[0.0, 0.0]], [[1.0, 2.0]], {"zero_radius": 1}),
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
    assert set(lars.guards()) == {"floor", "r_max", "zero_radius", "overflow"}


def test_guards_and_radii_print_as_names_and_numbers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net(torch.ones(1, 2)).sum().backward()
    for params, names in [(net.named_parameters(), ["0.weight", "1.weight"]), (net.parameters(), ["0.0", "0.2"])]:
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
    assert list(lars.radii().items()) == [("0.0", 2.0), ("0.2", 3.0)]
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
    with pytest.raises(TypeError, match="the ordering of tensors in sets will change between runs"):
        LARS([{"params": {parameter([[1.0]], [[1.0]])}}], 0.1)
    with pytest.raises(TypeError, match=r"MCLR takes real floating-point tensors, not torch\.int64"):
        MCLR([torch.ones(2, 2, dtype=torch.long)], 0.1)
    with pytest.raises(TypeError, match="MCLR takes real floating-point tensors, not str"):
        MCLR(["weight"], 0.1)


class Own(LayerWise):
    """A third party's rule, with an option of its own, in the form that passes other keywords on."""

    rules: ClassVar[dict[str, Rule]] = {"power": at_least(1)}

    def __init__(self, params: Any, lr: float = 0.1, *, power: float = 2.0, **others: Any) -> None:
        super().__init__(params, lr, power=power, **others)

    def fraction(self, batch: Batch) -> tuple[Any, Any]:
        return batch.weight_norms ** batch.options["power"], batch.grad_norms


class Plain(LayerWise):
    """A third party's rule without options."""

    def fraction(self, batch: Batch) -> tuple[Any, Any]:
        return batch.weight_norms, batch.grad_norms


@pytest.mark.parametrize("make", [*ALL, CBLR, Own, Plain])
def test_a_misspelt_argument_is_refused_with_the_nearest_name(make: Make) -> None:
    p = parameter([[1.0]], [[1.0]])
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'momentun'; did you mean 'momentum'"):
        make([p], lr=0.1, momentun=0.5)


def test_a_third_partys_option_reaches_its_rule_within_its_domain() -> None:
    p = parameter([[3.0]], [[2.0]])
    rule = Own([{"params": [p]}], power=3.0, momentum=0.5)
    rule.step()
    assert rule.radii() == {"0.0": 13.5}
    with pytest.raises(TypeError, match="Own got an unexpected keyword argument 'powr'; did you mean 'power'"):
        Own([p], powr=3.0)
    with pytest.raises(ValueError, match=r"power = 0\.5: must be a finite number ≥ 1"):
        Own([p], power=0.5)


@pytest.mark.parametrize("make", [*ALL, CBLR])
def test_every_option_has_a_rule(make: Make) -> None:
    kept = {"lr_at_construction", "lr_reaches_excluded", "weight_decay_reaches_excluded", "params", "steps", "seed"}
    (group,) = make([parameter([[1.0]], [[1.0]])]).param_groups
    assert group.keys() - kept == rules(make).keys()


@pytest.mark.parametrize("make", [*ALL, CBLR])
def test_float16_is_refused_at_once_or_before_a_step_moves_anything(make: Make) -> None:
    half, single = nn.Parameter(torch.ones(2, 2).half()), nn.Parameter(torch.ones(2, 2))
    with pytest.raises(TypeError, match=r"does not take torch\.float16.*torch\.autocast, or use bfloat16"):
        make([half], 0.1)
    half.requires_grad_(False)
    optimizer = make([single, half], 0.1)  # a frozen one does no harm
    half.requires_grad_(True)
    for p in (single, half):
        p.grad = torch.ones_like(p)
        optimizer.state[p]["curvature"] = torch.ones_like(p)
    with pytest.raises(RuntimeError, match=r"does not take torch\.float16"):
        optimizer.step()
    assert single.tolist() == [[1, 1], [1, 1]]


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
