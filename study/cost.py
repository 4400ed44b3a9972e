"""What a study would cost: a few real training steps and evaluations, timed, times how many there are."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from study.memory import give_back
from study.plan import Cell, data_key
from study.spec import Spec
from study.text import first_line
from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.settings import Settings
from trainables.timing import StepTime, time_evaluation, time_step
from trainables.train import Trial, batch_size
from trainables.tricks import Trick

ENOUGH_SECONDS = 0.25  # No larger step is timed after one as long as this: from there on an image more costs the same.
FIRST, FACTOR = 8, 4  # The steps that are timed have 8, 32, 128 … images.
MAX_PERIOD = 20  # Steps that are timed at most: what an optimizer does more rarely costs little.


@dataclass(frozen=True)
class Cost:
    """A cell's trials of each phase, and what one of them takes.

    `seconds` is nan where no step could be timed, and `failure` says why.
    """

    search: int
    confirm: int
    epochs: int
    steps: int
    images: int
    seconds: float
    failure: str = ""

    @property
    def trials(self) -> int:
        return self.search + self.confirm


@dataclass(frozen=True)
class Total:
    """What several trials cost together: `seconds` of them one after another, nan as in `Cost`."""

    trials: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    failure: str = ""

    def __add__(self, other: Total) -> Total:
        return Total(
            self.trials + other.trials, self.steps + other.steps, self.images + other.images,
            self.seconds + other.seconds, self.failure or other.failure,
        )  # fmt: skip


@dataclass(frozen=True)
class Timings:
    """Seconds of a training step by its images, timed in steps of up to `largest` images; `failure` if it failed.

    `first`: what an epoch's first step takes beyond that, by its images; `evaluation`: what evaluating an image takes.
    """

    seconds: Mapping[int, float]
    largest: int
    failure: str = ""
    first: Mapping[int, float] = field(default_factory=dict)
    evaluation: float = 0.0

    def step(self, n: int) -> float:
        """Seconds of a step of `n` images."""
        return _on_the_line(self.seconds, n)

    def epoch(self, n: int, steps: int) -> float:
        """Seconds of an epoch of so many steps, what its probes measure included."""
        return steps * self.step(n) + (_on_the_line(self.first, n) if any(self.first.values()) else 0.0)


def _on_the_line(seconds: Mapping[int, float], n: int) -> float:
    """Seconds for `n` images, on the straight line through the nearest sizes that were timed."""
    sizes = sorted(seconds)
    if not sizes:
        return math.nan
    if len(sizes) == 1 or n <= sizes[0]:
        return seconds[sizes[0]] * max(1.0, n / sizes[0])
    high = min(max(1, bisect_left(sizes, n)), len(sizes) - 1)
    below, above = sizes[high - 1], sizes[high]
    slope = (seconds[above] - seconds[below]) / (above - below)
    return seconds[below] + max(0.0, slope) * (n - below)


@dataclass(frozen=True)
class Phase:
    """Epochs whose steps cost the same: the first one, their batch size, and how many they are."""

    first: int
    n: int
    epochs: int


@dataclass
class Speed:
    """How long training steps take on this machine. Each kind of trial is timed once."""

    timings: dict[str, Timings] = field(default_factory=dict)

    def of(self, config: TrialConfig, splits: Splits, epoch: int, largest: int) -> Timings:
        """The timings of steps like those of `config` in `epoch`, from steps of up to `largest` images."""
        kind = _kind(config, epoch)
        if kind not in self.timings or self.timings[kind].largest < largest:
            self.timings[kind] = _timings(config, splits, epoch, largest)
        return self.timings[kind]


def costs(spec: Spec, plan: Sequence[Cell], splits: Mapping[str, Splits], speed: Speed | None = None) -> list[Cost]:
    """The cost of each cell of the plan on this machine; trials at once do not slow each other in it.

    A step that cannot be taken here makes the seconds nan, and raises nothing.
    """
    speed = speed or Speed()
    phases = [_phases(cell.typical, splits[data_key(cell.typical)]) for cell in plan]
    largest: dict[str, int] = {}
    for cell, each in zip(plan, phases, strict=True):
        for phase in each:
            kind = _kind(cell.typical, phase.first)
            largest[kind] = max(largest.get(kind, 0), phase.n)
    found = [
        _cost(spec, cell, splits[data_key(cell.typical)], speed, each, largest)
        for cell, each in zip(plan, phases, strict=True)
    ]
    give_back()
    return found


def total(each: Sequence[Cost], left: Iterable[int] | None = None) -> Total:
    """All trials of the cells, or those that are `left` of each."""
    counts = [cost.trials for cost in each] if left is None else left
    whole = Total()
    for cost, many in zip(each, counts, strict=True):
        if many:
            whole += Total(many, many * cost.steps, many * cost.images, many * cost.seconds, cost.failure)
    return whole


def _cost(
    spec: Spec, cell: Cell, splits: Splits, speed: Speed, phases: Sequence[Phase], largest: Mapping[str, int]
) -> Cost:
    config, many, images, seconds, failure = cell.typical, 0, 0, 0.0, ""
    search, confirm = (spec.search.trials if cell.space else 0), spec.confirm_seeds(cell.reading)
    for phase in phases:
        steps = len(splits.train) // phase.n
        timings = speed.of(config, splits, phase.first, largest[_kind(config, phase.first)])
        many, images = many + phase.epochs * steps, images + phase.epochs * steps * phase.n
        seconds += phase.epochs * (timings.epoch(phase.n, steps) + len(splits.validation) * timings.evaluation)
        failure = failure or timings.failure
    tested = confirm / max(1, search + confirm) * (len(splits.test) + len(splits.train))  # images, the cell's mean
    return Cost(search, confirm, config.epochs, many, images, seconds + tested * timings.evaluation, failure)


def _phases(config: TrialConfig, splits: Splits) -> list[Phase]:
    if not config.trick:
        return [Phase(1, config.batch_size, config.epochs)]
    alike: dict[tuple[int, tuple[bool, ...]], list[int]] = {}
    for epoch in range(1, config.epochs + 1):
        ranks = tuple(_ranks(trick, epoch) for trick in config.trick.values())
        alike.setdefault((batch_size(config, epoch, len(splits.train)), ranks), []).append(epoch)
    return [Phase(epochs[0], n, len(epochs)) for (n, _), epochs in alike.items()]


def _kind(config: TrialConfig, epoch: int) -> str:
    """What two trials share whose steps take equally long: all but what is a matter of degree, as rates are."""
    tricks = {name: (_choices(trick), _ranks(trick, epoch)) for name, trick in config.trick.items()}
    probes = {name: probe.model_dump(mode="json") for name, probe in config.probe.items()}
    parts = (config.model.model_dump(), config.data.model_dump(), _choices(config.optimizer), tricks, probes)
    return json.dumps([*parts, config.micro_batch, config.precision, config.device, config.threads])


def _ranks(trick: Trick, epoch: int) -> bool:
    """Whether the trick wants the losses of the whole batch first. One that raises will tell so in its trials."""
    try:
        return trick.selects(epoch)
    except Exception:
        return False


def _choices(settings: Settings) -> dict[str, Any]:
    """The settings that are no real numbers."""
    return {key: value for key, value in settings.model_dump(mode="json").items() if not isinstance(value, float)}


def _time_step(trial: Trial, splits: Splits, n: int, epoch: int) -> StepTime:
    """Without probes where one of them cannot measure a step so small: some want several micro-batches."""
    period = min(trial.config.optimizer.period, MAX_PERIOD)
    try:
        return time_step(trial, n, epoch, period)
    except Exception:
        if not trial.config.probe:
            raise
        return time_step(Trial(trial.config.model_copy(update={"probe": {}}), splits), n, epoch, period)


def _timings(config: TrialConfig, splits: Splits, epoch: int, largest: int) -> Timings:
    """Timed in passes no larger than the trial's own, so that they need no more memory than it will.

    With micro-batches, steps of two and of four of them come after those of one.
    """
    whole = min(config.micro_batch or largest, largest)
    sizes = [n for power in range(32) if (n := FIRST * FACTOR**power) < whole]
    sizes += [n for n in (whole, 2 * whole, 4 * whole) if n <= largest]
    threads = torch.get_num_threads()
    seconds: dict[int, float] = {}
    first: dict[int, float] = {}
    try:
        torch.set_num_threads(config.threads)
        trial = Trial(config, splits)
        for n in sizes:
            seconds[n], first[n] = _time_step(trial, splits, n, epoch)
            if seconds[n] >= ENOUGH_SECONDS or (first[n] >= ENOUGH_SECONDS and len(first) > 1):
                break
        evaluation = time_evaluation(trial)
    except Exception as error:  # whatever it is, the trials will tell: an estimate ends no study
        return Timings({}, largest, f"{config.optimizer.name}: {type(error).__name__}: {first_line(error)}")
    finally:
        torch.set_num_threads(threads)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return Timings(seconds, largest, first=first, evaluation=evaluation)
