"""Which seeds count as collapsed, and what a count of them excludes."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from study.collapse import Collapse, collapse, rate_bound, sentences


@pytest.mark.parametrize(
    ("accuracies", "collapsed"),
    [
        ([0.92, 0.93, 0.62, 0.91, 0.93], (0.62,)),
        ([0.62, 0.86, 0.63], (0.62, 0.63)),  # one trained, two did not
        ([0.30, 0.90, 0.62, 0.91, 0.92], (0.30, 0.62)),  # below the first fall, however deep
        ([0.10, 0.90], (0.10,)),
        ([0.50, 0.65, 0.80], ()),  # spread wide, but evenly
        ([0.90, 0.86, 0.81, 0.82, 0.88], ()),
        ([0.90, 0.84, 0.69], (0.69,)),  # two and a half times as far below as the others are apart
        ([0.90, 0.84, 0.73], ()),  # less than twice
        ([0.90, 0.88, 0.70, 0.60], (0.60, 0.70)),  # of equal groups the better one's spread counts
        ([0.90, 0.81], ()),  # a fall of less than ten points
        ([0.90, 0.79], (0.79,)),
        ([0.90, 0.75, 0.60, 0.45], ()),
        ([0.9, 0.9, 0.9], ()),
        ([0.9], ()),
        ([], ()),
    ],
)
def test_collapsed_seeds_lie_below_a_clear_fall(accuracies: list[float], collapsed: tuple[float, ...]) -> None:
    found = collapse("sgd/32", accuracies)
    assert found == Collapse("sgd/32", collapsed, len(accuracies))


def test_they_are_named_with_where_they_ended() -> None:
    assert collapse("a/1", [0.92, 0.93, 0.62, 0.91, 0.93]).sentence == "1 of 5 seeds ended at 62 %"
    assert collapse("a/1", [0.1, 0.1, 0.93, 0.91, 0.93]).sentence == "2 of 5 seeds ended at 10 %"
    assert (
        collapse("a/1", [0.1, 0.3, 0.2, 0.91, 0.93, 0.9, 0.9]).sentence == "3 of 7 seeds ended at 10 %, 20 % and 30 %"
    )
    assert collapse("a/1", [0.9, 0.91]).sentence == ""


def test_a_line_a_cell_where_a_seed_collapsed() -> None:
    cells = [collapse("a/1", [0.9, 0.9]), collapse("b/2", [0.9, 0.1])]
    assert sentences(cells) == ("b/2: 1 of 2 seeds ended at 10 %",)


def test_five_clean_seeds_exclude_only_more_than_45_percent() -> None:
    assert rate_bound(0, 5) == pytest.approx(1 - 0.05 ** (1 / 5))
    assert collapse("a/1", [0.9] * 5).rate_bound == pytest.approx(0.4507, abs=1e-4)


@pytest.mark.parametrize(("count", "n"), [(0, 3), (1, 5), (2, 5), (9, 10)])
def test_the_bound_is_the_rate_at_which_so_few_are_seen_in_one_of_twenty(count: int, n: int) -> None:
    assert stats.binom.cdf(count, n, rate_bound(count, n)) == pytest.approx(0.05)


def test_bounds_at_the_ends() -> None:
    assert rate_bound(5, 5) == 1
    assert math.isnan(rate_bound(0, 0))
