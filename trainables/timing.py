"""How long a training step takes."""

from __future__ import annotations

import time

import torch

from trainables.train import Trial

WARM = 2  # steps that are not timed: the first ones make buffers and choose kernels


def time_step(trial: Trial, n: int, epoch: int = 1, period: int = 1) -> float:
    """Seconds of a training step of `n` images in `epoch`, tricks included, once warm. It spoils the trial.

    The mean of `period` steps: of an optimizer that does more in some steps, as many as it takes until that repeats.
    """
    images = torch.arange(n, device=trial.device)
    started = 0.0
    with trial.own_randomness():
        for number in range(WARM + period):
            if number == WARM:
                started = _now(trial.device)
            step = trial.step(epoch, number, WARM + period, images)
            trial.gradient(step)
            trial.move(step)
    return (_now(trial.device) - started) / period


def _now(device: torch.device) -> float:
    """Seconds on the clock, once the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
