"""How long a trial's parts take: a training step, what its probes add to an epoch, and evaluation."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

from trainables.train import EVALUATION_BATCH, Trial

WARM = 2  # steps that are not timed: the first ones make buffers and choose kernels


class StepTime(NamedTuple):
    """Seconds of a step, and what the first step of an epoch takes beyond that: most probes look there."""

    seconds: float
    first: float = 0.0


def time_step(trial: Trial, n: int, epoch: int = 1, period: int = 1) -> StepTime:
    """A training step of `n` images in `epoch`, tricks and probes included, once warm. It spoils the trial.

    The mean of `period` steps: of an optimizer that does more in some steps, as many as it takes until that repeats.
    """
    images = torch.arange(n, device=trial.device)
    started = 0.0

    def take(number: int) -> None:
        step = trial.step(epoch, number, WARM + period, images)
        trial.gradient(step)
        trial.move(step)

    with trial.own_randomness():
        trial.model.train()
        _begin(trial, epoch)
        for number in range(WARM + period):
            if number == WARM:
                started = _now(trial.device)
            take(number)
        seconds = (_now(trial.device) - started) / period
        if not trial.observers:
            return StepTime(seconds)
        _end(trial)
        started = _now(trial.device)
        _begin(trial, epoch)
        take(0)
        _end(trial)
    return StepTime(seconds, max(0.0, _now(trial.device) - started - seconds))


def time_evaluation(trial: Trial) -> float:
    """Seconds that evaluating an image takes."""
    count = min(EVALUATION_BATCH, len(trial.train))
    trial.evaluate(trial.train, min(count, 8))
    started = _now(trial.device)
    trial.evaluate(trial.train, count)
    return (_now(trial.device) - started) / count


def _begin(trial: Trial, epoch: int) -> None:
    for hook in trial.hooks.before_epoch:
        hook(epoch)


def _end(trial: Trial) -> None:
    for observer in trial.observers.values():
        observer.after_epoch()


def _now(device: torch.device) -> float:
    """Seconds on the clock, once the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
