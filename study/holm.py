"""Holm's test of several means at once, as intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from study.intervals import ANYWHERE, Bounds, Estimate, intervals, p_values


def holm(samples: Sequence[npt.ArrayLike], confidence: float = 0.95, within: Bounds = ANYWHERE) -> list[Estimate]:
    """One interval a sample, each away from 0 exactly where Holm's test rejects a mean of 0.

    The clearest sample is tested at α/m, the next at α/(m - 1), …, up to the first that is not clear, whose level
    holds for all that follow. All the rejections are right together with at least this confidence (Holm 1979).
    """
    alone = p_values(samples, within)
    levels, clear, level = [1.0] * len(alone), True, confidence
    for rank, at in enumerate(sorted(range(len(alone)), key=alone.__getitem__)):
        if clear:
            level = 1 - (1 - confidence) / (len(alone) - rank)
            clear = alone[at] < 1 - level
        levels[at] = level
    return intervals(samples, levels, within)
