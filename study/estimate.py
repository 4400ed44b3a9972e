"""What a study would cost: a few real training steps, timed, times how many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from study.plan import Cell, data_key
from study.spec import Spec
from trainables.config import TrialConfig
from trainables.data import Splits
from trainables.train import Trial, batch_size

TIMED_BATCH = 256  # larger batches are timed at this size: images a second hardly change beyond it


@dataclass(frozen=True)
class Cost:
    """A cell's trials of each phase, and what one of them takes."""

    search: int
    confirm: int
    epochs: int
    steps: int
    seconds: float


def estimate(spec: Spec, plan: Sequence[Cell], splits: Mapping[str, Splits]) -> list[Cost]:
    """The cost of each cell of the plan on this machine; trials at once do not slow each other in it."""
    rates: dict[str, float] = {}
    costs = []
    for cell in plan:
        config = cell.typical
        images = len(splits[data_key(config)].train)
        key = f"{config.model}{config.data.name}{min(config.batch_size, TIMED_BATCH)}"
        if key not in rates:
            rates[key] = _images_per_second(config, splits[data_key(config)])
        steps = sum(images // batch_size(config, epoch, images) for epoch in range(1, config.epochs + 1))
        search = spec.search.trials if cell.space else 0
        costs.append(Cost(search, spec.confirm.seeds, config.epochs, steps, config.epochs * images / rates[key]))
    return costs


def _images_per_second(config: TrialConfig, splits: Splits) -> float:
    """Images a second of the third training step at (at most) TIMED_BATCH."""
    n = min(config.batch_size, TIMED_BATCH, len(splits.train))
    small = config.model_copy(update={"batch_size": n, "trick": {}, "probe": {}})
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        trial = Trial(small, splits)
        return n / trial.time_step(n)
    finally:
        torch.set_num_threads(threads)
