"""What only a GPU can show: the same numbers there, every part of a trial at work, and no step that waits for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tests.tiny import config, noise_splits
from tests.trainables.test_tricks import ALL as TRICKS
from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta, optimizers
from trainables.probes import probes
from trainables.train import Trial
from trainables.tricks import tricks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

Make = Callable[..., Any]
MAKES: dict[str, Make] = {
    "lars": LARS,
    "percent_delta": PercentDelta,
    "lamb": LAMB,
    **{f"mclr {reading}": partial(MCLR, reading=reading) for reading in ("abs", "signed", "radius")},
    "mclr without mask": partial(MCLR, zero_mask=False),
    "mclr sampled": partial(MCLR, sample=16),
    "cblr": partial(CBLR, curvature="gnb", seed=0),
    "cblr layer-wise": partial(CBLR, curvature="gnb", layer_wise=True, seed=0),
}
OPTIMIZERS: dict[str, dict[str, Any]] = {"sgd": {"lr": 0.02}, "cblr": {"gamma": 1e-3, "interval": 2}}
PROBES: dict[str, dict[str, Any]] = {
    "curvature": {"entries": 5}, "sharpness": {"images": 10}, "guards": {}, "radius": {},
}  # fmt: skip
DRAWN = ("curvature", "curvature_radius", "distance")  # with random numbers that a GPU draws otherwise


@pytest.fixture(autouse=True)
def _plain_float32() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.get_num_threads()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(2)  # of the CPU's side; a GPU's machine has many, and tests run side by side
    yield
    torch.backends.cudnn.allow_tf32 = before[0]
    torch.set_num_threads(before[1])


# Optimizers


def steps(make: Make, device: str, dtype: torch.dtype, options: dict[str, Any], count: int) -> list[torch.Tensor]:
    """The weights of a small convolution net after `count` steps along given gradients and curvatures."""
    torch.manual_seed(0)
    shapes = [(6, 3, 3, 3), (6,), (40, 30), (), (10, 40)]
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64).to(device, dtype)) for shape in shapes]
    optimizer = make(params, 0.01, weight_decay=1e-3, **options)
    for _ in range(count):
        for p in params:
            g = torch.randn(p.shape, dtype=torch.float64)
            p.grad = (g * (g > -0.5)).to(device, dtype)  # zeros occur
            if isinstance(optimizer, CBLR):
                optimizer.state[p]["curvature"] = torch.rand(p.shape, dtype=torch.float64).to(device, dtype)
        optimizer.step()
    return [p.detach().cpu() for p in params]


@pytest.mark.parametrize("options", [{}, {"foreach": False}, {"maximize": True, "exclude": "none"}], ids=str)
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-11), (torch.float32, 2e-5)], ids=str)
@pytest.mark.parametrize("name", MAKES)
def test_the_steps_are_those_of_a_cpu(name: str, dtype: torch.dtype, near: float, options: dict[str, Any]) -> None:
    if name == "percent_delta" and dtype == torch.float32:
        near = 1e-3  # weights near 0, whose rounding is large beside them, dominate its mean of |g/w|
    there, here = (steps(MAKES[name], device, dtype, options, 20) for device in ("cuda", "cpu"))
    for a, b in zip(there, here, strict=True):
        assert float((a - b).norm()) <= near * float(b.norm())


@contextmanager
def waiting_refused() -> Iterator[None]:
    """Whatever makes the host wait for the GPU raises inside."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", MAKES)
def test_no_step_waits_for_the_gpu(name: str, dtype: torch.dtype, foreach: bool | None) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)).to("cuda", dtype)
    images, labels = torch.randn(8, 3, 6, 6, device="cuda", dtype=dtype), torch.arange(8, device="cuda")
    optimizer = MAKES[name](net.parameters(), 1e-3, weight_decay=1e-3, foreach=foreach)
    for step in range(4):
        optimizer.zero_grad()
        loss = cross_entropy(logits := net(images), labels)
        getattr(optimizer, "backward", lambda loss, _: loss.backward())(loss, logits)
        with waiting_refused() if step else nullcontext():  # the first one makes the buffers
            optimizer.step()
    assert all(bool(p.isfinite().all()) for p in net.parameters())
    with waiting_refused(), pytest.raises(RuntimeError, match="synchronizing"):  # the mode does notice
        float(loss.detach())


# Kernels


SHAPES = [(64, 32, 3, 3), (64,), (300, 500), (), (10, 40), (10,), (0, 3), (7, 9, 5, 5), (33,)]


def over(make: Make, dtype: torch.dtype, lr: Any, foreach: bool | None, layout: torch.memory_format) -> tuple[Any, Any]:
    """An optimizer on the GPU, and a function that sets its gradients, which are new memory each time."""
    gen = torch.Generator().manual_seed(0)

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        x = torch.randn(shape, generator=gen, dtype=torch.float64).to("cuda", dtype)
        return x.to(memory_format=layout) if x.ndim == 4 else x

    params = [nn.Parameter(draw(shape)) for shape in SHAPES]
    optimizer = make(params, lr=lr, weight_decay=1e-3, foreach=foreach)

    def renew() -> None:
        for p in params:
            g = draw(p.shape)
            p.grad = g * (g > -0.5)

    return optimizer, renew


KERNEL_MAKES = {name: make for name, make in MAKES.items() if not name.startswith("cblr")}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float64, 1e-11), (torch.float32, 2e-5), (torch.bfloat16, 0.05)], ids=str
)
@pytest.mark.parametrize("name", KERNEL_MAKES)
def test_kernels_move_as_the_other_path(
    name: str, dtype: torch.dtype, near: float, layout: torch.memory_format, launched: list[str]
) -> None:
    ends = []
    for foreach in (None, True):
        optimizer, renew = over(KERNEL_MAKES[name], dtype, 0.01, foreach, layout)
        for _ in range(5):
            renew()
            optimizer.step()
        ends.append(optimizer)
        assert bool(launched) is (foreach is None)
        launched.clear()
    ours, theirs = ends
    if name == "percent_delta" and dtype != torch.float64:
        near = max(near, 1e-3)
    for a, b in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        assert float((a - b).double().norm()) <= near * float(b.double().norm())
    if dtype != torch.bfloat16:
        assert ours.guards() == theirs.guards()
        assert ours.radii() == pytest.approx(theirs.radii(), rel=max(1e-3 if near > 1e-9 else 1e-8, near))


def test_medians_are_exact_over_all_floats_here_too() -> None:
    from trainables.optimizers import kernels
    from trainables.optimizers.kernels.medians import medians

    gen = torch.Generator().manual_seed(0)
    special = torch.tensor([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 3e38, 1e-45, -1e-45, 1e-39])
    sizes = [1, 2, 3, 17, 1000, 40_000, 200_001]
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for reading in ("abs", "signed", "radius"):
            for masked in (False, True):
                drawn = []
                for n in 2 * sizes:
                    x = torch.randn(n, generator=gen)
                    picks = special[torch.randint(len(special), (n,), generator=gen)]
                    drawn.append(torch.where(torch.rand(n, generator=gen) < 0.3, picks, x).to("cuda", dtype))
                drawn[4] = torch.ones_like(drawn[4])  # all alike
                ws, gs = drawn[: len(sizes)], drawn[len(sizes) :]
                counters = [torch.zeros(9, dtype=torch.long, device="cuda") for _ in sizes]
                step = kernels.walk(ws, len(ws)).step(gs, counters)
                values, left_out = medians(step, reading, masked)
                for place, (w, g) in enumerate(zip(ws, gs, strict=True)):
                    kept = g != 0 if masked else torch.ones_like(g, dtype=torch.bool)
                    wide = torch.float64 if dtype == torch.float64 else torch.float32
                    sides = [w.to(wide), g.to(wide)]
                    if reading == "abs":
                        sides = [x.abs() for x in sides]
                    elif reading == "radius":
                        sides = [torch.where(g == 0, math.inf, (w.to(wide) / g.to(wide)).abs())]
                    for side, x in enumerate(sides):
                        some = x[kept].cpu().sort().values.double()
                        expected = some[(len(some) - 1) // 2] if len(some) else torch.tensor(0.0).double()
                        got = values[side, place].cpu()
                        assert torch.equal(got, expected) or (got.isnan() and expected.isnan()), (dtype, reading, side)
                    assert int(left_out[place]) == int((~kept).sum())


@pytest.mark.parametrize("name", KERNEL_MAKES)
def test_no_step_by_kernels_waits_for_the_gpu_when_gradients_move(name: str, launched: list[str]) -> None:
    optimizer, renew = over(KERNEL_MAKES[name], torch.float32, 0.01, None, torch.channels_last)
    renew()
    optimizer.step()
    kept = []  # so that the next ones lie elsewhere
    for _ in range(3):
        kept.append([p.grad for p in optimizer.param_groups[0]["params"]])
        renew()
        with waiting_refused():
            optimizer.step()
    assert launched


def after_four_rates(make: Make, capture: bool) -> tuple[list[torch.Tensor], Any]:
    """The weights after steps at rates that change in memory, as replays of a graph or plainly; and the guards."""
    lr = torch.tensor(0.01, device="cuda")
    optimizer, renew = over(make, torch.float32, lr, None, torch.contiguous_format)
    params = optimizer.param_groups[0]["params"]
    renew()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    static = [torch.zeros_like(p) for p in params]
    if capture:
        for p, g in zip(params, static, strict=True):
            p.grad = g  # other memory than the plain steps'
        with torch.cuda.graph(graph):
            optimizer.step()
    for factor in (1.0, 0.5, 0.0, 2.0):
        lr.fill_(0.01 * factor)
        renew()
        torch._foreach_copy_(static, [p.grad for p in params])
        (graph.replay if capture else optimizer.step)()
    renew()
    optimizer.step()  # a plain one after replays
    return [p.detach().clone() for p in params], optimizer.guards()


@pytest.mark.parametrize("name", [name for name in KERNEL_MAKES if name != "lamb"])  # whose bias is a captured number
def test_a_captured_step_replays_with_a_rate_that_changes(name: str, launched: list[str]) -> None:
    replayed, plain = (after_four_rates(KERNEL_MAKES[name], capture) for capture in (True, False))
    assert launched
    for a, b in zip(replayed[0], plain[0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    assert replayed[1] == plain[1]


# Trials


def trained(device: str, **changes: Any) -> list[dict[str, float]]:
    usual = {"model": {"width": 0.03, "dropout": 0}, "batch_size": 20, "epochs": 2}
    trial = Trial(config(device=device, **{**usual, **changes}), noise_splits())
    while not trial.finished:
        trial.run_epoch()
    assert next(trial.model.parameters()).device.type == device
    rows = [{key: x for key, x in row.items() if not key.startswith("time/")} for row in trial.rows]
    assert all(math.isfinite(x) for row in rows for x in row.values())
    return [*rows, trial.run_test()]


def agree(one: list[dict[str, float]], other: list[dict[str, float]], near: float = 2e-3) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        assert a == pytest.approx(b, rel=near, abs=1e-7)


@pytest.mark.parametrize("model", [{"name": "alexnet", "dropout": 0}, {"name": "resnet18"}], ids=str)
@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_trains_as_on_a_cpu(name: str, model: dict[str, Any]) -> None:
    settings = {"name": name, **OPTIMIZERS.get(name, {"gamma": 1e-3})}
    changes = {"optimizer": settings, "model": {**model, "width": 0.03}, "epochs": 1}
    there, here = trained("cuda", **changes), trained("cpu", **changes)
    if name != "cblr":  # whose random signs a GPU draws otherwise
        # batch norm over few images, and Adam's quotients of small numbers, make rounding grow
        assert there[0]["train/loss"] == pytest.approx(here[0]["train/loss"], rel=0.02)


@pytest.mark.parametrize("name", tricks.names())
def test_every_trick_works_as_on_a_cpu(name: str) -> None:
    changes = {"trick": {name: TRICKS[name]}, "micro_batch": 8}
    there, here = trained("cuda", **changes), trained("cpu", **changes)
    if name != "noise":  # which a GPU draws otherwise
        agree(there, here)


@pytest.mark.parametrize("name", probes.names())
def test_every_probe_measures_as_on_a_cpu(name: str) -> None:
    changes = {
        "probe": {name: PROBES.get(name, {"entries": 64})}, "micro_batch": 6, "batch_size": 40,
        "optimizer": {"name": "lars", "gamma": 1e-3},
    }  # fmt: skip
    there, here = trained("cuda", **changes), trained("cpu", **changes)
    if name in DRAWN:
        assert [row.keys() for row in there] == [row.keys() for row in here]
    else:
        agree(there, here, near=0.01)


def test_bfloat16_trains() -> None:
    trained("cuda", model={"name": "resnet18", "width": 0.1}, precision="bfloat16")
    trained("cuda", model={"name": "alexnet", "width": 0.1, "dropout": 0.5}, precision="bfloat16")


def test_a_resumed_trial_goes_on() -> None:
    whole = config(device="cuda", epochs=3, model={"dropout": 0.2})
    through, first, second = (Trial(whole, noise_splits()) for _ in range(3))
    rows = [through.run_epoch() for _ in range(3)]
    first.run_epoch()
    second.load_state_dict(first.state_dict())
    for row in rows[1:]:
        assert second.run_epoch()["train/loss"] == pytest.approx(row["train/loss"], rel=1e-3)
