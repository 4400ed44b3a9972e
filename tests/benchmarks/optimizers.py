"""How long a step takes, beside torch's own: `make bench`, or `python -m tests.benchmarks.optimizers --help`.

Gradients are of a real batch (zeros occur) and the contenders take turns, so that whatever else the machine does meets
all of them. The figures are each contender's fastest turn, to which other work added least, and beside its ratio that
of the medians.

All are bound by memory: torch's fused SGD reads three numbers and writes two for a weight, LARS reads two more, LAMB
beside AdamW five more and writes two. So the ratios depend on the machine, its caches and its neighbours (LAMB's was
2.4 on one and 3.9 on another of the same kind); the table of parts tells where the time goes on this one. On a GPU each
rule is timed by its kernels and by the multi-tensor path, and by its kernels as a CUDA graph.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainables.data.batches import Batches, normalisation
from trainables.data.digits import Digits
from trainables.models.alexnet import AlexNetSettings
from trainables.models.resnet18 import ResNet18Settings
from trainables.optimizers import CBLR, LAMB, LARS, MCLR, PercentDelta, fused
from trainables.optimizers.tensor_statistics import masked_medians, mean_ratios, norms

MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: ResNet18Settings().build(10),
    "alexnet": lambda: AlexNetSettings().build(10),
}
SGD = {
    "SGD for-loop": partial(torch.optim.SGD, momentum=0.9, foreach=False, fused=False),
    "SGD foreach": partial(torch.optim.SGD, momentum=0.9, foreach=True),
    "SGD fused": partial(torch.optim.SGD, momentum=0.9, fused=True),
}
ADAMW = {
    "AdamW for-loop": partial(torch.optim.AdamW, foreach=False, fused=False),
    "AdamW foreach": partial(torch.optim.AdamW, foreach=True),
    "AdamW fused": partial(torch.optim.AdamW, fused=True),
}
OURS = {
    "LARS": partial(LARS, momentum=0.9),
    "LARS, decay": partial(LARS, momentum=0.9, weight_decay=1e-4),
    "PercentDelta": partial(PercentDelta, momentum=0.9),
    "PercentDelta, decay": partial(PercentDelta, momentum=0.9, weight_decay=1e-4),
    "MCLR, exact": partial(MCLR, momentum=0.9),
    "MCLR, exact, no mask": partial(MCLR, momentum=0.9, zero_mask=False),
    "MCLR, sample 65536": partial(MCLR, momentum=0.9, sample=65536),
}
LAMBS = {"LAMB": LAMB, "LAMB, decay": partial(LAMB, weight_decay=1e-2)}
PUBLIC_LAMBS = [("torch_optimizer", "Lamb"), ("timm.optim", "Lamb"), ("pytorch_optimizer", "Lamb")]
PUBLIC = [  # (module, class) of whatever is installed
    ("torch_optimizer", "LARS"),
    ("timm.optim", "Lars"),
    ("pytorch_optimizer", "LARS"),
    ("pl_bolts.optimizers", "LARS"),
]
BOUNDS = {"LARS": 2.2, "PercentDelta": 4, "LAMB": 2.5, "MCLR, exact": 15, "MCLR, sample": 3.5}
KERNEL_BOUNDS = {"LARS": 2, "PercentDelta": 2, "LAMB": 2, "MCLR, exact": 4, "MCLR, sample": 2.5}
CURVATURE_BOUNDS = {"CBLR, every step": 4.0, "CBLR, every 10th": 1.4}


def public(kinds: list[tuple[str, str]], **options: Any) -> dict[str, Callable[..., Any]]:
    """Other people's optimizers, of the packages that are installed."""
    found = {}
    for module, name in kinds:
        try:
            found[f"{name.upper()} of {module}"] = partial(getattr(importlib.import_module(module), name), **options)
        except ImportError:
            continue
    return found


def side_by_side(makes: Mapping[str, Callable[..., Any]], device: str) -> dict[str, Callable[..., Any]]:
    """On a GPU the kernels and the multi-tensor path that they stand in for."""
    if device == "cpu":
        return dict(makes)
    paths = {"": {}, ", multi-tensor": {"foreach": True}}
    return {
        f"{name}{path}": partial(make, **options) for name, make in makes.items() for path, options in paths.items()
    }


def batch(n: int, device: str) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) and labels (n,) of scikit-learn's digits."""
    train = Digits(validation=0).splits().train
    layout = Batches(train, *normalisation(train), torch.device(device))
    return layout.take(slice(n))


def gradients(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Leaves in `p.grad` the gradients of a net trained a little, as an optimizer meets them."""
    warm = torch.optim.SGD(model.parameters(), 0.005, momentum=0.9)
    for _ in range(5):
        warm.zero_grad()
        cross_entropy(model(images), labels).backward()
        warm.step()


@dataclass(frozen=True)
class Times:
    """Seconds of a step, or such seconds relative to another's."""

    fastest: float
    median: float

    def beside(self, other: Times) -> Times:
        return Times(self.fastest / other.fastest, self.median / other.median)


Rows = dict[str, tuple[Times, Times]]  # seconds, and relative to the fastest of torch's own


def turns(contenders: Mapping[str, Callable[[], object]], repeats: int, device: str, warm: int = 2) -> dict[str, Times]:
    """Seconds of each call over `repeats` turns, after `warm` others."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + warm):
        for name, call in contenders.items():
            wait(device)
            started = time.perf_counter()
            call()
            wait(device)
            if turn >= warm:
                seconds[name].append(time.perf_counter() - started)
    return {name: Times(min(times), statistics.median(times)) for name, times in seconds.items()}


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def contenders(model: nn.Module, makes: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[[], object]]:
    """A step each, at a rate so low that weights stay as they are, on parameters of its own."""
    steps: dict[str, Callable[[], object]] = {}
    for name, make in makes.items():
        params = []
        for p in model.parameters():
            assert p.grad is not None
            own = nn.Parameter(p.detach().clone())
            own.grad = p.grad.clone()
            params.append(own)
        steps[name] = make(params, lr=1e-6).step
    return steps


def bench_steps(model: nn.Module, repeats: int, device: str) -> None:
    lars = public(PUBLIC, momentum=0.9, weight_decay=1e-4)
    lambs = public(PUBLIC_LAMBS, weight_decay=1e-2)
    for own, ours, others in ((SGD, OURS, lars), (ADAMW, LAMBS, lambs)):
        makes = {**side_by_side(ours, device), **others}
        # a few at a time: twelve copies of AlexNet and their buffers would not fit a small machine
        rows: Rows = {}
        names = list(makes)
        for start in range(0, len(names), 4):
            some = {name: makes[name] for name in names[start : start + 4]}
            times = turns(contenders(model, {**own, **some}), repeats, device)
            best = min((times[name] for name in own), key=lambda t: t.fastest)
            rows |= {name: (seconds, seconds.beside(best)) for name, seconds in times.items()}
            gc.collect()
        table(rows, BOUNDS if device == "cpu" else KERNEL_BOUNDS)


def bench_replays(model: nn.Module, repeats: int) -> None:
    """Steps that were captured as CUDA graphs: the GPU's time alone, without that of Python and launches."""
    makes = {"SGD fused": SGD["SGD fused"], **OURS, **LAMBS}
    rows: Rows = {}
    for name, make in makes.items():
        step = contenders(model, {name: make})[name]
        replay = captured(step)
        times = turns({name: replay}, repeats, "cuda")[name]
        rows[name] = times, times.beside(rows["SGD fused"][0] if rows else times)
        del step, replay
        gc.collect()
    table(rows, {})


def captured(step: Callable[[], object]) -> Callable[[], object]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def bench_parts(model: nn.Module, repeats: int) -> None:
    """What the steps on a CPU are made of, beside a whole step of torch's fused SGD: why they take what they take."""
    weights = [p.detach().clone() for p in model.parameters()]
    grads = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    first, second, room = ([torch.zeros_like(w) for w in weights] for _ in range(3))
    adam = {"momentum": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.0}

    def update() -> None:
        for w, v, g in zip(weights, first, grads, strict=True):
            fused.move(w, v, g, 0.9, 0.0, 1e-6)

    def directions() -> None:
        for u, w, m, v, g in zip(room, weights, first, second, grads, strict=True):
            fused.adam(u, w, m, v, g, adam, 1)

    parts: dict[str, Callable[[], object]] = {
        "SGD fused": contenders(model, {"": SGD["SGD fused"]})[""],
        "common update: the layer-wise": update,
        "norms of w and g: LARS": lambda: (norms(weights), norms(grads)),
        "mean of |g/w|: PercentDelta": lambda: mean_ratios(grads, weights, 0.0, 1e-6),
        "medians of |w| and |g|: MCLR": lambda: [masked_medians(x, grads, absolute=True) for x in (weights, grads)],
        "Adam's directions: LAMB": directions,
    }
    times = turns(parts, repeats, "cpu")
    table({name: (seconds, seconds.beside(times["SGD fused"])) for name, seconds in times.items()}, {})


def bench_curvature(build: Callable[[], nn.Module], images: Tensor, labels: Tensor, repeats: int, device: str) -> None:
    """A whole training step, forward and backward pass included."""

    def training(model: nn.Module, optimizer: Any) -> Callable[[], None]:
        backward = getattr(optimizer, "backward", lambda loss: loss.backward())

        def step() -> None:
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            backward(loss)
            optimizer.step()

        return step

    makes: dict[str, tuple[Callable[[Any], Any], int]] = {  # and the steps of a turn
        "plain (SGD)": (lambda params: torch.optim.SGD(params, 1e-8, momentum=0.9), 1),
        "CBLR, every step": (lambda params: CBLR(params, 1e-8, interval=1), 1),
        "CBLR, every 10th": (lambda params: CBLR(params, 1e-8, interval=10), 10),
    }
    calls, steps = {}, {}
    for name, (make, count) in makes.items():
        model = build().to(device)
        calls[name] = repeated(training(model, make(model.parameters())), count)
        steps[name] = count
    times = turns(calls, repeats, device, warm=1)
    times = {name: Times(t.fastest / steps[name], t.median / steps[name]) for name, t in times.items()}
    table({name: (seconds, seconds.beside(times["plain (SGD)"])) for name, seconds in times.items()}, CURVATURE_BOUNDS)


def repeated(call: Callable[[], None], count: int) -> Callable[[], None]:
    def calls() -> None:
        for _ in range(count):
            call()

    return calls


def table(rows: Rows, bounds: Mapping[str, float]) -> None:
    for name, (seconds, ratio) in rows.items():
        bound = next((bounds[start] for start in sorted(bounds, reverse=True) if name.startswith(start)), None)
        ours = bound is not None and " of " not in name and "multi-tensor" not in name
        verdict = f"  at most {bound:<4g} {'yes' if bound and ratio.fastest <= bound else 'no'}" if ours else ""
        figures = f"{seconds.fastest * 1e3:9.3f} ms  {ratio.fastest:6.2f}  ({ratio.median:5.2f})"
        print(f"  {name:<36} {figures}{verdict}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15, help="turns of a step; a training step takes a fifth")
    parser.add_argument("--batch", type=int, default=64, help="images of the batch")
    parser.add_argument("--no-curvature", action="store_true", help="leave CBLR out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    for name in options.models:
        model = MODELS[name]().to(options.device)
        images, labels = batch(options.batch, options.device)
        gradients(model, images, labels)
        print(f"{name}, {options.device}, {options.threads} threads, torch {torch.__version__}: a step, relative to "
              "the fastest of torch's own, and by medians")  # fmt: skip
        bench_steps(model, options.repeats, options.device)
        if options.device == "cuda":
            print(f"{name}: the same as replays of a CUDA graph, relative to torch's fused SGD")
            bench_replays(model, options.repeats)
        if options.device == "cpu" and fused.ENABLED:
            print(f"{name}: what these steps are made of, relative to torch's fused SGD")
            bench_parts(model, options.repeats)
        if not options.no_curvature:
            print(f"{name}: a training step of {options.batch} images, relative to the plain one")
            bench_curvature(MODELS[name], images, labels, max(2, options.repeats // 5), options.device)


if __name__ == "__main__":
    main()
