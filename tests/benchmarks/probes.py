"""What each probe adds to an epoch: `python -m tests.benchmarks.probes --help`.

The trial without probes and the one with it take turns, so that whatever else the machine does meets both; the figure
is the median over turns of each turn's own ratio. On a CPU seconds are the process's own, not the clock's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from trainables.config import TrialConfig
from trainables.data import Split, Splits
from trainables.probes import probes
from trainables.train import Trial

WHOLE = ("gradient_law", "radius_law")  # measure one pass over the training set
SECOND_ORDER = ("curvature", "curvature_radius", "distance", "sharpness")  # beyond 5 %, as their docstrings say
ONE_STEP = ("discard_gradient",)  # three steps' work, once a trial


def splits(images: int) -> Splits:
    """Random images: the cost does not depend on them."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    train = Split(pixels, draw.integers(0, 10, images))
    return Splits(train, train.take(np.arange(0)), train.take(np.arange(0)), 10)


def trial(options: argparse.Namespace, name: str | None, data: Splits) -> Trial:
    """An AlexNet without dropout, measured by the probe `name`. One that wants a whole pass has it in micro-batches."""
    whole = name in WHOLE or options.whole
    config: dict[str, Any] = {
        "model": {"name": "alexnet", "width": options.width, "dropout": 0},
        "data": {"name": "digits"},
        "optimizer": {"name": "sgd", "lr": 1e-6, "momentum": 0, "nesterov": False},
        "batch_size": options.images if whole else options.n,
        "micro_batch": options.n if whole else options.micro,
        "epochs": 1000, "seed": 0, "device": options.device, "threads": options.threads,
        "probe": {name: {}} if name else {},
    }  # fmt: skip
    return Trial(TrialConfig.model_validate(config), data)


def epoch(one: Trial) -> float:
    clock = time.process_time if one.device.type == "cpu" else time.perf_counter
    started = clock()
    one.train_epoch(2)
    if one.device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def ratios(options: argparse.Namespace, name: str, data: Splits) -> tuple[float, float]:
    """Median seconds of an epoch without the probe, and the median ratio of one with it to its neighbour."""
    off, on = trial(options, None, data), trial(options, name, data)
    if name in WHOLE:
        off = trial(argparse.Namespace(**vars(options) | {"whole": True}), None, data)
    epoch(off), epoch(on)
    turns = [(epoch(off), epoch(on)) for _ in range(options.repeats)]
    return statistics.median(a for a, _ in turns), statistics.median(b / a for a, b in turns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", nargs="+", choices=probes.names(), default=probes.names())
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--n", type=int, default=32, help="batch size; the micro-batch of a whole pass")
    parser.add_argument("--micro", type=int, default=None, help="micro-batch of the others")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    options.whole = False
    torch.set_num_threads(options.threads)
    print(f"AlexNet, width {options.width:g}, n = {options.n}, {options.images} images an epoch, {options.device}, "
          f"{options.threads} threads, torch {torch.__version__}")  # fmt: skip
    data = splits(options.images)
    for name in options.probes:
        seconds, ratio = ratios(options, name, data)
        note = "second derivatives" if name in SECOND_ORDER else "in epoch 1 alone" if name in ONE_STEP else ""
        verdict = note or f"at most 1.05 {'yes' if ratio <= 1.05 else 'no'}"
        print(f"  {name:<18} {seconds:8.2f} s  {ratio:6.3f}  {verdict}", flush=True)


if __name__ == "__main__":
    main()
