"""Small real things that many tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trainables.config import TrialConfig
from trainables.data import Split, Splits
from trainables.step import Step
from trainables.tree import merge

TINY: dict[str, Any] = {
    "model": {"name": "alexnet", "width": 0.03, "dropout": 0.2},
    "data": {"name": "digits", "train_size": 200, "test_size": 60, "validation": 0.2, "augment": True},
    "optimizer": {"name": "sgd", "lr": 0.02},
    "batch_size": 16,
    "epochs": 3,
    "seed": 1,
}


def config(**changes: Any) -> TrialConfig:
    """A trial of a fraction of a second; `changes` are laid on it."""
    return TrialConfig.model_validate(merge(TINY, changes))


def noise_splits(train: int = 40, classes: int = 3, seed: int = 0) -> Splits:
    """Random images with random labels, for what does not depend on them."""
    draw = np.random.default_rng(seed)

    def split(n: int) -> Split:
        return Split(
            draw.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), draw.integers(0, classes, n).astype(np.int64)
        )

    return Splits(split(train), split(12), split(15), classes)


def step(epoch: int, n: int = 1) -> Step:
    """The first step of `epoch`, of the first `n` images, for what does not depend on more."""
    return Step(epoch, 0, rate=0.1, images=torch.arange(n), draws=None, micro_batch=n)
