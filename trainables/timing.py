"""How long a training step takes."""

from __future__ import annotations

import time

import torch

from trainables.train import Trial

WARM = 3  # steps: the first ones make buffers and choose kernels


def time_step(trial: Trial, n: int) -> float:
    """Seconds of a training step of `n` images, once warm. The trial is spoilt for training."""
    images = torch.arange(n, device=trial.device)
    seconds = 0.0
    with trial.own_randomness():
        for number in range(WARM):
            started = time.perf_counter()
            loss, _ = trial.gradient(trial.step(1, number, WARM, images))
            float(loss)  # on a GPU this waits for the backward pass to be queued
            trial.optimizer.step()
            seconds = time.perf_counter() - started
    return seconds
