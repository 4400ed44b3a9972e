"""Intervals hold the truth as often as they say: a fast version of `python -m tests.reports.coverage`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reports.coverage import KINDS, SEEDS, Kind, bca, counted, ours, share, student

REPEATS = 3_000
SLACK = 0.011  # twice the standard error of a share near 0.9 in so many repeats
LEAST = {"normal": 0.93, "skewed": 0.88, "bimodal": 0.93}


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_coverage(kind: Kind, seeds: int) -> None:
    sample = counted(kind, np.random.default_rng(seeds), REPEATS, seeds)
    low, high = ours(sample, kind.within)
    assert share((low, high), kind.mean) >= LEAST[kind.shape] - SLACK
    assert kind.within[0] < low.min()
    assert high.max() < kind.within[1]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.shape == "normal"], ids=lambda kind: kind.name)
def test_normal_samples_are_covered_no_more_often_than_claimed(kind: Kind) -> None:
    sample = counted(kind, np.random.default_rng(1), REPEATS, 5)
    assert share(ours(sample, kind.within), kind.mean) <= 0.95 + SLACK


def test_what_was_not_chosen_is_worse() -> None:
    """t leaves 100 %, and the bootstrap misses the truth more than one time in seven."""
    kind = next(kind for kind in KINDS if kind.name == "Beta(19, 1)")
    sample = counted(kind, np.random.default_rng(2), 1_000, 3)
    low, high = student(sample)
    assert (high > 1).mean() > 0.3
    assert share((low, high), kind.mean) < share(ours(sample, kind.within), kind.mean) - 0.02
    normal = counted(KINDS[0], np.random.default_rng(3), 1_000, 5)
    assert share(bca(normal, np.random.default_rng(4)), KINDS[0].mean) < 6 / 7
