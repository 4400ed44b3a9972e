"""Spreads against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.numerics.spread import luck, spread_ratio
from tests.study.simulation import confirm_trials


def test_spread_ratio_covers_the_true_ratio_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    found = [spread_ratio(draw.normal(0, 2, 6), draw.normal(5, 1, 6)) for _ in range(800)]
    assert 0.93 < np.mean([each.low < 2 < each.high for each in found]) < 0.97
    assert math.isnan(spread_ratio([1.0], [1.0, 2.0]).mean)
    assert math.isnan(spread_ratio([1.0, 1.0], [1.0, 2.0]).low)


def test_luck_splits_the_spread_into_searches_and_seeds():
    """Against simulation: searches spread by 0.03, seeds by 0.01."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(300):
        means = 0.9 + 0.03 * draw.standard_normal(4)
        cells = {f"sgd~{i}/32": mean + 0.01 * draw.standard_normal(5) for i, mean in enumerate(means)}
        found.append(luck(confirm_trials(cells), list(cells)))
    assert np.sqrt(np.mean([each.between**2 for each in found])) == pytest.approx(0.03, rel=0.1)
    assert np.sqrt(np.mean([each.within**2 for each in found])) == pytest.approx(0.01, rel=0.05)


def test_one_search_has_no_luck_to_tell():
    assert np.isnan(luck(confirm_trials({"sgd/32": [0.9, 0.91]}), ["sgd/32"]).between)
