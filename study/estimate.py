"""What a study would cost: a few real training steps, timed, times how many there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from study.plan import Cell, data_key
from study.spec import Spec
from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.timing import time_step
from trainables.train import Trial, batch_size

ENOUGH_SECONDS = 0.25  # longer steps are told from those up to this: an image more costs the same from here on


@dataclass(frozen=True)
class Cost:
    """A cell's trials of each phase, and what one of them takes."""

    search: int
    confirm: int
    epochs: int
    steps: int
    images: int
    seconds: float

    @property
    def trials(self) -> int:
        return self.search + self.confirm


@dataclass(frozen=True)
class Total:
    """What several trials cost together: `seconds` of them one after another."""

    trials: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0

    def __add__(self, other: Total) -> Total:
        return Total(
            self.trials + other.trials, self.steps + other.steps, self.images + other.images,
            self.seconds + other.seconds,
        )  # fmt: skip


class Speed:
    """How long training steps take on this machine, each kind of trial timed once; probes and tricks are left out."""

    def __init__(self) -> None:
        self.timed: dict[str, Timings] = {}

    def of(self, config: TrialConfig, splits: Splits) -> Timings:
        """The timings of this configuration's kind of trial."""
        kind = json.dumps([config.model.model_dump(), config.data.name, config.precision, config.threads])
        if kind not in self.timed:
            self.timed[kind] = _timings(config, splits)
        return self.timed[kind]


@dataclass(frozen=True)
class Timings:
    """Seconds of a training step by its images, for sizes that double."""

    seconds: Mapping[int, float]

    def step(self, n: int, micro_batch: int | None = None) -> float:
        """Seconds of a step of `n` images, in passes of `micro_batch`: the optimizer's share is paid once."""
        known = sorted(self.seconds)
        below = max((size for size in known if size <= n), default=known[0])
        if micro_batch and micro_batch < n:
            once = max(0.0, 2 * self.seconds[known[0]] - self.step(2 * known[0]))  # what no image adds
            return once + n / micro_batch * max(0.0, self.step(micro_batch) - once)
        if n <= known[-1] or len(known) < 2:
            return self.seconds[below] * max(1.0, n / below)
        slope = (self.seconds[known[-1]] - self.seconds[known[-2]]) / (known[-1] - known[-2])
        return self.seconds[below] + max(0.0, slope) * (n - below)


def estimate(spec: Spec, plan: Sequence[Cell], splits: Mapping[str, Splits], speed: Speed | None = None) -> list[Cost]:
    """The cost of each cell of the plan on this machine; trials at once do not slow each other in it."""
    speed = speed or Speed()
    costs = []
    for cell in plan:
        config = cell.typical
        here = splits[data_key(config)]
        timings = speed.of(config, here)
        sizes = [batch_size(config, epoch, len(here.train)) for epoch in range(1, config.epochs + 1)]
        steps = [len(here.train) // n for n in sizes]
        images = sum(n * many for n, many in zip(sizes, steps, strict=True))
        seconds = sum(many * timings.step(n, config.micro_batch) for n, many in zip(sizes, steps, strict=True))
        search = spec.search.trials if cell.space else 0
        costs.append(Cost(search, spec.confirm.seeds, config.epochs, sum(steps), images, seconds))
    return costs


def total(costs: Sequence[Cost], left: Iterable[int] | None = None) -> Total:
    """All trials of the cells, or those that are `left` of each."""
    sum_ = Total()
    for cost, many in zip(costs, [cost.trials for cost in costs] if left is None else left, strict=True):
        sum_ += Total(many, many * cost.steps, many * cost.images, many * cost.seconds)
    return sum_


def _timings(config: TrialConfig, splits: Splits) -> Timings:
    """Of steps of 8, 16, 32 … images, up to the whole split or a step that takes long enough."""
    bare = config.model_copy(update={"batch_size": 1, "trick": {}, "probe": {}, "micro_batch": None})
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        trial = Trial(bare, splits)
        timed: dict[int, float] = {}
        n = min(8, len(splits.train))
        while n <= len(splits.train) and max(timed.values(), default=0.0) < ENOUGH_SECONDS:
            timed[n] = time_step(trial, n)
            n *= 2
        return Timings(timed)
    finally:
        torch.set_num_threads(threads)
