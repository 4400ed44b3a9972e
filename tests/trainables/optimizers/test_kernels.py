"""The kernels, in Triton's interpreter on a CPU, against float64 references and the multi-tensor path.

`tests/conftest.py` asks for the interpreter where there is no GPU; `tests/trainables/test_gpu.py` runs them on one.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainables.optimizers import references
from tests.trainables.optimizers.test_reference import RULES
from trainables.models.resnet18 import ResNet18Settings
from trainables.optimizers import CBLR, LAMB, LARS, MCLR, Batch, LayerWise, PercentDelta, kernels

pytest.importorskip("triton", reason="the kernels want Triton")
pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="Triton compiles here; test_gpu.py runs the kernels"
)

Make = Callable[..., Any]
MAKES: dict[str, Make] = {
    "lars": LARS,
    "percent_delta": PercentDelta,
    "lamb": LAMB,
    **{f"mclr {reading}": partial(MCLR, reading=reading) for reading in ("abs", "signed", "radius")},
    "mclr without mask": partial(MCLR, zero_mask=False),
    "mclr sampled": partial(MCLR, sample=16, reading="signed"),
    "cblr": CBLR,
}
NEAR = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 0.02}
DTYPES = [torch.float64, torch.float32, torch.bfloat16]
READINGS = ["abs", "signed", "radius"]


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels take a CPU's tensors, in small pieces, for each operation of the interpreter costs some 50 µs.

    It puts its own functions in Triton's place at every call of a function within a kernel, which is most of its time;
    here that is done once a test.
    """
    import triton.language.standard
    from triton.runtime import interpreter

    from trainables.optimizers.kernels import chunks

    monkeypatch.setattr(kernels, "ENABLED", True)
    monkeypatch.setattr(kernels, "DEVICES", {"cpu"})
    monkeypatch.setattr(chunks, "CHUNK", 256)
    monkeypatch.setattr(chunks, "BLOCK", 128)
    patched = interpreter._patch_lang(triton.language.standard.sum.fn)
    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", lambda self, *a, **k: self.rewrite()(*a, **k))
    yield
    patched.restore()


# Whole steps


def tensors(dtype: torch.dtype) -> list[Tensor]:
    """Empty, of one entry, of odd size, of several chunks, transposed, channels last, without dimensions, with gaps."""
    gen = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=gen, dtype=torch.float64).to(dtype)

    return [
        draw(0, 3), draw(1, 1), draw(7, 9), draw(13, 20), draw(9, 8).T, draw(6, 8)[:, ::2],
        draw(4, 6, 3, 3).to(memory_format=torch.channels_last), draw(5), draw(), draw(3, 4, 5).permute(2, 0, 1),
    ]  # fmt: skip


def run(make: Make, dtype: torch.dtype, foreach: bool | None, **options: Any) -> tuple[list[Tensor], Any]:
    params = [nn.Parameter(x.clone(memory_format=torch.preserve_format)) for x in tensors(dtype)]
    params[5] = nn.Parameter(tensors(dtype)[5])  # a clone would have no gaps
    optimizer = make(params, lr=0.01, foreach=foreach, **options)
    gen = torch.Generator().manual_seed(1)
    for step in range(2):
        for place, p in enumerate(params):
            g = torch.randn(p.shape, generator=gen, dtype=torch.float64)
            g = (g * (g > -0.5)).to(dtype)  # zeros occur
            p.grad = None if (step, place) in {(1, 2), (0, 4)} else torch.empty_like(p).copy_(g)
            if isinstance(optimizer, CBLR):
                optimizer.state[p]["curvature"] = torch.full_like(p, 0.5)
        optimizer.step()
    return [p.detach() for p in params], optimizer


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, torch.float32) for name in MAKES),
        *((name, torch.float64) for name in ("lars", "percent_delta", "lamb", "mclr signed")),
        *((name, torch.bfloat16) for name in ("lars", "percent_delta", "lamb", "mclr abs")),
    ],
    ids=str,
)
def test_steps_are_those_of_the_other_path(name: str, dtype: torch.dtype, launched: list[str]) -> None:
    options = {"weight_decay": 1e-3, **({"maximize": True} if name == "lars" else {})}
    ours, mine = run(MAKES[name], dtype, None, **options)
    assert launched
    launched.clear()
    theirs, other = run(MAKES[name], dtype, True, **options)
    assert not launched
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=NEAR[dtype], atol=NEAR[dtype])
    assert mine.guards() == other.guards()
    radii, expected = mine.radii(), other.radii()
    if dtype == torch.bfloat16 and name == "percent_delta":
        assert radii.keys() == expected.keys()  # weights near 0, rounded differently, dominate the mean
    else:
        assert radii == pytest.approx(expected, rel=max(20 * NEAR[dtype], 1e-9))
    (one,), (two,) = mine.state_dict()["param_groups"], other.state_dict()["param_groups"]
    assert {**one, "foreach": True} == two
    ours_kept, theirs_kept = mine.state_dict()["state"], other.state_dict()["state"]
    assert ours_kept.keys() == theirs_kept.keys()
    for place, b in theirs_kept.items():
        a = ours_kept[place]
        assert a.keys() == b.keys()
        assert all(type(a[key]) is type(b[key]) for key in b)
        assert all(a[key].shape == b[key].shape and a[key].dtype == b[key].dtype for key in b if key != "step")


def problem(count: int) -> tuple[list[Any], list[list[Any]]]:
    """Weights and gradients, a fifth of whose entries is 0, where no median is near 0."""
    rng = np.random.default_rng(7)

    def draw(shape: tuple[int, ...], zeros: bool) -> Any:
        x = rng.uniform(0.5, 2, size=shape) * np.where(rng.random(shape) < 0.8, 1, -1)
        return np.asarray(x * ((rng.random(shape) > 0.2) | (x == x.max())) if zeros else x)

    shapes = [(5, 4), (3, 2, 3, 2), (7,), ()]
    return [draw(s, False) for s in shapes], [[draw(s, True) for s in shapes] for _ in range(count)]


@pytest.mark.parametrize(
    ("rule", "exclude"), [*((rule, "1d") for rule in [*RULES, "lamb"]), ("lars", "none"), ("lamb", "none")]
)
def test_steps_are_those_of_the_references(rule: str, exclude: str) -> None:
    start, grads = problem(4)
    schedule = [1.0, 0.5, 0.0, 2.0]
    thin = {"lamb": 0.003}.get(rule, 0.02) if exclude == "1d" else None
    plan = references.Run(0.003, 0.9, 0.05, schedule, thin)
    if rule == "lamb":
        expected = references.lamb(start, grads, plan, 0.98, 1e-3)
        options: dict[str, Any] = {"beta2": 0.98, "eps": 1e-3}
    else:
        expected = references.layer_wise(RULES[rule][1], start, grads, plan)
        options = {"excluded_lr": 0.02, "r_max": 1e9}
    make: Make = LAMB if rule == "lamb" else RULES[rule][0]
    params = [nn.Parameter(torch.tensor(w)) for w in start]
    optimizer = make(params, lr=0.003, weight_decay=0.05, exclude=exclude, **options)
    for factor, step in zip(schedule, grads, strict=True):
        for p, g in zip(params, step, strict=True):
            p.grad = torch.tensor(g)  # new memory in each step
        optimizer.param_groups[0]["lr"] = 0.003 * factor
        optimizer.step()
    for p, b in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("make", [LARS, LAMB])
def test_a_rate_that_is_a_tensor_is_read_where_it_lies(make: Make) -> None:
    ends = []
    for lr in (torch.tensor(0.25, dtype=torch.float64), 0.25):
        p, q = nn.Parameter(torch.full((2, 3), 3.0)), nn.Parameter(torch.ones(3))
        optimizer = make([p, q], lr=lr)
        for factor in (1.0, 0.5):
            p.grad, q.grad = torch.ones(2, 3), torch.ones(3)
            if isinstance(lr, Tensor):
                lr.mul_(factor)  # in place, as a captured step's rate
            else:
                optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.step()
        ends.append(torch.cat([p.detach().flatten(), q.detach()]))
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("make", "w", "g", "expected"),
    [
        (lambda p: LARS(p, 1e-3, floor=2.0), [3.0, 4.0], [1.0, 0.0], {"floor"}),
        (lambda p: LARS(p, 1e-9, r_max=0.5), [3.0, 4.0], [1.0, 0.0], {"r_max"}),
        (lambda p: LARS(p, 1e-3), [0.0, 0.0], [1.0, 0.0], {"zero_radius"}),
        (lambda p: LARS(p, 1e300), [3.0, 4.0], [1.0, 0.0], {"overflow"}),
        (lambda p: PercentDelta(p, 1e-3, floor=2.0), [3.0, 4.0], [1.0, 0.0], {"floor"}),
        (lambda p: PercentDelta(p, 1e-3), [0.0, 0.0], [1.0, 2.0], {"zero_radius"}),
        (lambda p: MCLR(p, 1e-3), [3.0, 4.0], [0.0, 0.0], {"masked", "floor"}),
        (lambda p: MCLR(p, 1e-3, zero_mask=False), [3.0, 4.0, 5.0], [1.0, 0.0, 0.0], {"floor", "r_max"}),
        (lambda p: MCLR(p, 1e-3, reading="radius", zero_mask=False), [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], {"r_max"}),
        (lambda p: LAMB(p, 1e-3), [3.0, 4.0], [0.0, 0.0], {"zero_norm"}),
        (lambda p: LAMB(p, 1e300), [3.0, 4.0], [1.0, 2.0], {"overflow"}),
    ],
)
def test_guards_fire_and_count_and_reset(make: Make, w: Any, g: Any, expected: set[str], launched: list[str]) -> None:
    p = nn.Parameter(torch.tensor([w], dtype=torch.float64))
    p.grad = torch.tensor([g], dtype=torch.float64)
    optimizer = make([p])

    def fired() -> set[str]:
        return {name for name, counts in optimizer.guards(reset=True).items() if counts.get("0.0") == 1}

    optimizer.step()
    assert launched
    assert fired() == expected
    assert optimizer.guards() == {name: {} for name in optimizer.guard_names}
    assert p.isfinite().all()


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("name", ["lars", "percent_delta", "lamb", "mclr abs", "mclr signed", "mclr radius"])
@settings(deadline=None, max_examples=4)
@given(data=st.data(), single=st.booleans(), rate=st.floats(0, 100), beta=st.floats(0, 1), momentum=st.floats(0, 0.99))
def test_finite_in_finite_out(name: str, data: Any, single: bool, rate: float, beta: float, momentum: float) -> None:
    limit = float(np.finfo(np.float32).max) if single else 1e300
    numbers = st.lists(st.floats(-limit, limit, width=32 if single else 64), min_size=6, max_size=6)
    kind = torch.float32 if single else torch.float64
    w, *gradients = (torch.tensor(data.draw(numbers), dtype=kind).view(2, 3) for _ in range(3))
    p = nn.Parameter(w)
    optimizer = MAKES[name]([p], lr=rate, weight_decay=beta, momentum=momentum)
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
        assert torch.equal(p.grad, g), "the gradient is left alone"
    assert p.isfinite().all(), p


class Flagged(LayerWise):
    """A third party's rule, with guards of its own."""

    guard_names = (*LayerWise.guard_names, "first", "second")

    def fraction(self, batch: Batch) -> tuple[Tensor, Tensor]:
        batch.fired["second"] = batch.weight_norms > 3
        return batch.weight_norms**2, batch.grad_norms


def test_a_third_partys_rule_asks_the_kernels_and_has_its_own_guards(launched: list[str]) -> None:
    small, bias, large = (nn.Parameter(torch.full(s, 1.5)) for s in ((1, 1), (2,), (3, 3)))
    for p in (small, bias, large):
        p.grad = torch.ones_like(p)
    rule = Flagged([small, bias, large], 0.1, momentum=0.0)
    rule.step()
    assert launched == ["_partial", "_finish", "_layer_wise", "_move"]
    assert rule.radii() == pytest.approx({"0.0": 2.25, "0.2": 20.25 / 3})
    assert rule.guards()["second"] == {"0.0": 0, "0.1": 0, "0.2": 1}
    assert not any(rule.guards()["first"].values())
    assert bias.tolist() == pytest.approx([1.5 - 0.01] * 2)


# Memory that moves


def test_what_moves_in_memory_is_found_again() -> None:
    """Weights, states and gradients of a checkpoint, of another layout, or replaced by hand."""
    weights = torch.randn(4, 6, 3, 3), torch.randn(9, 8)
    ends = []
    for foreach in (None, True):
        gen = torch.Generator().manual_seed(0)
        params = [nn.Parameter(w.clone()) for w in weights]
        optimizer = LARS(params, 0.1, foreach=foreach)

        def step(params: list[nn.Parameter] = params, optimizer: Any = optimizer, gen: Any = gen) -> None:
            for p in params:
                p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=gen))
            optimizer.step()

        step()
        params[0].data = params[0].data.to(memory_format=torch.channels_last)
        step()
        optimizer.load_state_dict(optimizer.state_dict())
        step()
        optimizer.state[params[1]]["momentum_buffer"] = torch.ones(8, 9).T
        step()
        optimizer.state.clear()
        step()
        params[0].data = params[0].data.double()
        params[1].data = params[1].data[:5].clone()
        optimizer.state.clear()
        step()
        ends.append([p.detach().clone() for p in params])
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_tensors_of_several_ages_have_their_own_bias_correction() -> None:
    ends = []
    for foreach in (None, True):
        params = [nn.Parameter(torch.full(shape, 2.0, dtype=torch.float64)) for shape in ((2, 3), (4,), (3, 2))]
        optimizer = LAMB(params, 0.1, weight_decay=0.1, foreach=foreach)
        for step in range(4):
            for place, p in enumerate(params):
                p.grad = torch.full_like(p, 1.0 + step) if step >= place else None
            optimizer.step()
        ends.append(params)
        assert [optimizer.state[p]["step"] for p in params] == [4, 3, 2]
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_kernels_are_used_only_where_they_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    p = torch.ones(4, 6, 3, 3)
    last = p.to(memory_format=torch.channels_last)
    ones = torch.ones(4, 6, 1, 1)
    assert kernels.fits(None, p, p.clone())
    assert kernels.fits(None, last, last.clone())
    assert kernels.fits(None, ones, ones.to(memory_format=torch.channels_last)), "strides of 1×1 say nothing"
    for wrong in [(True, p, p), (False, p, p), (None, p, last), (None, p[:, ::2], p[:, ::2]), (None, p, p.double())]:
        assert not kernels.fits(*wrong)
    assert not kernels.fits(None, p.as_subclass(Marked), p)
    monkeypatch.setattr(kernels, "DEVICES", {"cuda"})
    assert not kernels.fits(None, p, p)
    monkeypatch.setattr(kernels, "DEVICES", {"cpu"})
    monkeypatch.setattr(kernels, "ENABLED", False)
    assert not kernels.fits(None, p, p)


class Marked(Tensor):
    pass


def test_an_environment_variable_switches_them_off() -> None:
    ask = "from trainables.optimizers import kernels; print(kernels.ENABLED)"
    for value, expected in (("0", "False"), ("1", "True")):
        environment = os.environ | {"TRAINABLES_KERNELS": value}
        ran = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == expected


# Statistics


def step_of(weights: list[Tensor], grads: list[Tensor]) -> Any:
    """A step over these, whose guards count into nothing."""
    counters = [torch.zeros(9, dtype=torch.long) for _ in weights]
    step = kernels.walk(weights, len(weights)).step(grads, counters)
    step.walk.kept_for_the_test = grads, counters  # type: ignore[attr-defined]
    return step


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e37, 1e-37, 1e-42, 1e250, 1e-250, 5e-324])
def test_norms_neither_overflow_nor_vanish(dtype: torch.dtype, scale: float) -> None:
    from trainables.optimizers.kernels.reductions import sums

    if not 0 < float(torch.tensor(scale, dtype=torch.float64).to(dtype)) < math.inf:
        pytest.skip("no such number")
    x = torch.rand(300, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    zeros, nothing = torch.zeros(3, dtype=dtype), torch.zeros(0, dtype=dtype)
    ws = [(x * scale).to(dtype), zeros, nothing, torch.full((3,), math.inf).to(dtype)]
    gs = [x.to(dtype), zeros, nothing, torch.full((3,), math.nan).to(dtype)]
    found = sums(step_of(ws, gs))
    for norms, of, unit in ((found.weight_norms, ws[0], scale), (found.grad_norms, gs[0], 1.0)):
        expected = math.sqrt(math.fsum((float(entry) / unit) ** 2 for entry in of))
        assert float(norms[0]) / unit == pytest.approx(expected, rel=1e-14 if unit > 1e-300 else 0.1)
    assert found.weight_norms[1:3].tolist() == [0, 0]
    assert found.any_weight.tolist() == [1, 0, 0, 1]
    assert not math.isfinite(found.weight_norms[3])
    assert math.isnan(found.grad_norms[3])


def test_norms_of_entries_of_all_sizes_at_once() -> None:
    from trainables.optimizers.kernels.reductions import sums

    # about 2^±500 entries are squared in another way
    lists = [[1e200, 1.0, 1e-200], [3.2e-151, *[3e-151] * 500], [3e-200, 4e-200], [3e155, 4e155], [3.2e150, 3.3e150]]
    xs = [torch.tensor(numbers, dtype=torch.float64) for numbers in lists]
    found = sums(step_of(xs, xs)).grad_norms.tolist()
    assert found == pytest.approx([math.hypot(*numbers) for numbers in lists], rel=1e-14, abs=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_mean_ratios_floor_the_denominator(dtype: torch.dtype) -> None:
    from trainables.optimizers.kernels.reductions import sums

    ws = [x for x in tensors(dtype) if x.ndim == 2 and x.is_contiguous()]
    gs = [torch.empty_like(w).copy_(w.flip(0)) for w in ws]
    found = sums(step_of(ws, gs), 0.25, 0.1).mean_ratios.tolist()
    for w, g, value in zip(ws, gs, found, strict=True):
        a, b = g.double().numpy(), w.double().numpy()
        expected = np.abs((a + 0.25 * b) / np.maximum(np.abs(b), 0.1)).sum() / max(b.size, 1)
        assert value == pytest.approx(expected, rel=1e-14 if dtype == torch.float64 else 1e-6)


def exact_medians(reading: str, masked: bool, w: Tensor, g: Tensor, beta: float) -> list[float]:
    """By sorting: the lower of two, NaN last, 0 of none."""
    wide = torch.float64 if w.dtype == torch.float64 else torch.float32
    w, g = w.to(wide).flatten(), g.to(wide).flatten()
    kept = g != 0 if masked else torch.ones_like(g, dtype=torch.bool)
    sides = [w, g]
    if reading == "abs":
        sides = [w.abs(), g.abs()]
    elif reading == "radius":
        d = g + beta * w if beta else g
        sides = [torch.where(d == 0, math.inf, (w / d).abs())]
    return [float(x[kept].sort().values[(len(x[kept]) - 1) // 2]) if kept.any() else 0.0 for x in sides]


def check_medians(ws: list[Tensor], gs: list[Tensor], reading: str, masked: bool, beta: float = 0.0) -> None:
    from trainables.optimizers.kernels.medians import medians

    values, left_out = medians(step_of(ws, gs), reading, masked, beta=beta)
    for place, (w, g) in enumerate(zip(ws, gs, strict=True)):
        expected = exact_medians(reading, masked, w, g, beta)
        np.testing.assert_array_equal(values[:, place].numpy(), expected)  # NaN equals NaN, -0 equals 0
        assert left_out[place] == (int((g == 0).sum()) if masked else 0)


CLASSES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1.5,
    math.inf,
    -math.inf,
    math.nan,
    3e38,
    -3e38,
    1e-45,
    -1e-45,
    1e-39,
    1.1754944e-38,
    2.0,
)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reading", READINGS)
@settings(deadline=None, max_examples=6)
@given(data=st.data(), dtype=st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float64]))
def test_medians_are_exact_over_all_floats(reading: str, masked: bool, data: Any, dtype: torch.dtype) -> None:
    numbers = st.sampled_from(CLASSES) | st.floats(width=32)
    least = 1.2e-38 if dtype == torch.bfloat16 else 0.0  # the interpreter widens its denormals wrongly; GPUs are tested

    def drawn(size: int) -> Tensor:
        some = data.draw(st.lists(numbers, min_size=size, max_size=size))
        return torch.tensor([0.0 if abs(x) < least else x for x in some], dtype=torch.float64).to(dtype)

    ws, gs = ([drawn(size) for size in (0, 1, 7)] for _ in range(2))
    check_medians(ws, gs, reading, masked)


@pytest.mark.parametrize(
    ("reading", "dtype"), [*zip(READINGS, DTYPES, strict=True), ("signed", torch.bfloat16)], ids=str
)
def test_medians_of_several_chunks_ties_and_constants(reading: str, dtype: torch.dtype) -> None:
    gen = torch.Generator().manual_seed(0)
    w = torch.randn(300, generator=gen, dtype=torch.float64)
    g = torch.randn(300, generator=gen, dtype=torch.float64) * (torch.rand(300, generator=gen) > 0.4)
    ws = [w, w.round(), torch.ones(200), w[:129], -w.abs()]
    gs = [g, g.round(), torch.full((200,), -2.0), g[:129], g]
    check_medians([x.to(dtype) for x in ws], [x.to(dtype) for x in gs], reading, masked=True, beta=0.5)


def test_a_sample_has_the_entries_of_the_other_path_in_every_layout() -> None:
    from trainables.optimizers.kernels.medians import medians
    from trainables.optimizers.tensor_statistics import thinned

    gen = torch.Generator().manual_seed(0)
    plain = torch.randn(10, 9, 3, 4, generator=gen)
    ws = [
        plain,
        plain.to(memory_format=torch.channels_last),
        torch.randn(40, 30, generator=gen).T,
        torch.randn(5, generator=gen),
    ]
    ws.append(torch.randn(6, 7, 11, generator=gen).permute(2, 0, 1))
    gs = [torch.empty_like(w).copy_(w.roll(1, 0)) for w in ws]
    values, _ = medians(step_of(ws, gs), "signed", masked=False, sample=50)
    for place, (w, g) in enumerate(zip(ws, gs, strict=True)):
        expected = exact_medians("signed", False, thinned(w, 50), thinned(g, 50), 0)
        assert values[:, place].tolist() == expected
    assert values[0, 0] == values[0, 1]


# Launches


VIEWS = (
    "view",
    "slice",
    "select",
    "unbind",
    "split",
    "detach",
    "empty",
    "as_strided",
    "movedim",
    "permute",
    "profiler",
    "narrow",
)


class Launches(TorchDispatchMode):
    """Counts the operations of torch that would start a kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, op: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(op)
        if not any(word in name for word in VIEWS):
            self.names.append(name)
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "most"),
    [("lars", 12), ("percent_delta", 12), ("lamb", 12), *((name, 20) for name in MAKES if "mclr" in name)],
)
@pytest.mark.parametrize("tensor_rate", [False, True])
def test_a_step_over_resnet18_is_a_few_launches(
    name: str, most: int, tensor_rate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainables.optimizers.kernels import walks

    kernel_names: list[str] = []

    def launch(kernel: Any, programs: int, *_: Any, **__: Any) -> None:
        kernel_names.extend([kernel.__name__] * (programs > 0))

    monkeypatch.setattr(walks, "launch", launch)
    params = list(ResNet18Settings().build(10).parameters())
    assert len(params) == 62
    optimizer = MAKES[name](params, lr=torch.tensor(0.1) if tensor_rate else 0.1, weight_decay=1e-4)
    monkeypatch.setattr(type(optimizer), "entries", None)  # which splits a CPU's work alone
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    kernel_names.clear()
    for p in params:
        p.grad = torch.zeros_like(p)  # elsewhere
    with Launches() as torches:
        optimizer.step()
    assert kernel_names
    assert len(kernel_names) + len(torches.names) <= most, (kernel_names, torches.names)


# The compiler


def test_every_kernel_compiles_for_a_gpu() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.trainables.optimizers.compiled"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "_layer_wise" in ran.stdout
