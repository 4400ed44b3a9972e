"""Holm's test against its steps by hand."""

from __future__ import annotations

import numpy as np
from scipy import stats

from study.holm import holm
from study.intervals import interval


def test_holm_rejects_as_holm_does() -> None:
    """p-values 0.004, 0.011, 0.03, 0.04 …: steps down through α/m, α/(m - 1), … and stops at the first failure."""
    draw = np.random.default_rng(0)
    for _ in range(60):
        samples = [draw.normal(shift, 1, 6) for shift in draw.uniform(0, 3, 4)]
        p = np.array([stats.ttest_1samp(sample, 0).pvalue for sample in samples])
        rejected, alive = set(), True
        for rank, at in enumerate(np.argsort(p)):
            alive = alive and p[at] < 0.05 / (len(p) - rank)
            if alive:
                rejected.add(int(at))
        assert {at for at, each in enumerate(holm(samples)) if each.sign} == rejected


def test_holm_of_one_is_the_interval_and_of_equal_seeds_decides_nothing() -> None:
    assert holm([[1.0, 2.0, 4.0]]) == [interval([1.0, 2.0, 4.0])]
    assert [each.sign for each in holm([[1.0, 1.0], [2.0], []])] == [0, 0, 0]
