"""What 1, 2, 4, 8 trials on one device give together: `python -m tests.benchmarks.sharing --device cuda`.

Each trial is a process of its own, as Ray's are, and trains the same few steps of AlexNet or ResNet18; all start
together after their first step. The figure is the images a second of all of them, and relative to one alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import torch

from trainables.config import TrialConfig
from trainables.data import Split, Splits
from trainables.train import Trial


def splits(images: int) -> Splits:
    """Noise in CIFAR-10's shape: what the images show costs nothing."""
    draw = np.random.default_rng(0)
    train = Split(draw.integers(0, 256, (images, 3, 32, 32), np.uint8), draw.integers(0, 10, images))
    some = Split(train.images[:100], train.labels[:100])
    return Splits(train, some, some, 10)


def train(number: int, config: TrialConfig, images: int, start: Barrier, seconds: Any) -> None:
    """One trial's process: an epoch to warm up, then one that counts."""
    torch.set_num_threads(1)
    trial = Trial(config, splits(images))
    trial.run_epoch()
    start.wait()
    began = time.perf_counter()
    trial.run_epoch()
    if trial.device.type == "cuda":
        torch.cuda.synchronize()
    seconds[number] = time.perf_counter() - began


def together(config: TrialConfig, images: int, trials: int) -> float:
    """Images a second of so many trials at once."""
    context = multiprocessing.get_context("spawn")
    start, seconds = context.Barrier(trials), context.Array("d", trials)
    processes = [
        context.Process(target=train, args=(number, config, images, start, seconds)) for number in range(trials)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return trials * images / max(seconds[:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--models", nargs="+", default=["alexnet", "resnet18"])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 512])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--trials", nargs="+", type=int, default=[1, 2, 4, 8])
    given = parser.parse_args()
    for model in given.models:
        for n in given.sizes:
            images = n * given.steps
            config = TrialConfig.model_validate(
                {"model": {"name": model, "width": given.width}, "data": {"name": "cifar10", "validation": 0},
                 "batch_size": n, "seed": 1, "epochs": 2, "optimizer": {"name": "sgd", "lr": 1e-3},
                 "device": given.device}
            )  # fmt: skip
            rates = {trials: together(config, images, trials) for trials in given.trials}
            told = "  ".join(f"{k}: {rate:,.0f} ({rate / rates[given.trials[0]]:.2f})" for k, rate in rates.items())
            print(f"{model}, n = {n}, {given.device}, images/s by trials at once  {told}", flush=True)


if __name__ == "__main__":
    main()
