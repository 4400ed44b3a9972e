"""Intervals against scipy, by hand, and within what is possible."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from study.intervals import ANYWHERE, DIFFERENCE, FRACTION, POSITIVE, Bounds, Estimate, interval, p_value, simultaneous

FRACTIONS = st.lists(st.floats(0, 1), min_size=3, max_size=12)


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, on values that are nearly equal
@given(FRACTIONS)
def test_interval_is_scipys(values: list[float]) -> None:
    mine = interval(values)
    if stats.sem(values) == 0:
        assert mine.low == mine.mean == mine.high
    else:
        theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-11)  # rounding is no spread
    assert (mine.mean, mine.n) == (pytest.approx(np.mean(values)), len(values))


@given(FRACTIONS, st.floats(-1, 1))
def test_interval_moves_with_its_values(values: list[float], by: float) -> None:
    here, there = interval(values), interval(np.array(values) + by)
    assert (there.low - here.low, there.high - here.high) == pytest.approx((by, by), abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.5], [0.4, 0.6]])
def test_fewer_than_three_values_have_no_interval(values: list[float]) -> None:
    result = interval(values)
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result.sign == 0
    assert math.isnan(result.mean) == (not values)


def test_interval_covers_as_often_as_it_says() -> None:
    samples = np.random.default_rng(0).normal(0.3, 1, size=(2000, 3))
    hits = sum(each.low <= 0.3 <= each.high for each in map(interval, samples))
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


def test_simultaneous_intervals_are_wider_and_hold_together() -> None:
    samples = np.random.default_rng(1).normal(0, 1, size=(1000, 4, 5))
    together = [simultaneous(list(each)) for each in samples]
    alone = interval(samples[0, 0])
    assert together[0][0].high - together[0][0].low > 1.3 * (alone.high - alone.low)
    hits = sum(all(each.low <= 0 <= each.high for each in study) for study in together)
    assert hits / 1000 >= 0.94


@pytest.mark.parametrize(
    ("low", "high", "sign"),
    [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.2, 0), (0.0, 0.2, 0), (0.1, 0.1, 0), (math.nan, math.nan, 0)],
)
def test_sign_is_decided_only_by_an_interval_beside_zero(low: float, high: float, sign: int) -> None:
    assert Estimate((low + high) / 2, low, high, 3).sign == sign


def test_through_takes_mean_and_ends_to_another_unit() -> None:
    assert Estimate(0.0, -1.0, 1.0, 3).through(math.exp) == Estimate(1.0, math.exp(-1), math.e, 3)


def test_an_accuracys_interval_is_students_t_on_the_logit_scale() -> None:
    """The quickstart's cell: four seeds near 92 %, one at 62 %, which Student's t drew up to 106.9 %."""
    values = [0.92, 0.93, 0.91, 0.93, 0.62]
    mean, error = np.mean(values), stats.sem(values)
    reach = stats.t.ppf(0.975, 4) * error
    assert mean + reach > 1
    expected = special.expit(special.logit(mean) + np.array([-1, 1]) * reach / (mean * (1 - mean)))
    found = interval(values, within=FRACTION)
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.mean == pytest.approx(mean)


def test_a_positive_quantitys_interval_is_students_t_on_the_logarithmic_scale() -> None:
    values = [1.0, 2.0, 9.0]
    reach = stats.t.ppf(0.975, 2) * stats.sem(values) / 4
    found = interval(values, within=POSITIVE)
    assert (found.low, found.high) == pytest.approx((4 * math.exp(-reach), 4 * math.exp(reach)))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=10))
def test_no_interval_leaves_what_is_possible_nor_its_mean(values: list[float]) -> None:
    sample = np.array(values)
    for found, low, high in (
        (interval(sample, within=FRACTION), 0, 1),
        (interval(2 * sample - 1, within=DIFFERENCE), -1, 1),
        (interval(100 * sample, within=(0.0, 100.0)), 0, 100),
        (interval(sample, within=POSITIVE), 0, math.inf),
    ):
        assert low <= found.low <= found.mean <= found.high <= high


@given(FRACTIONS)
def test_percent_and_fractions_tell_the_same(values: list[float]) -> None:
    one, hundred = interval(values, within=FRACTION), interval(100 * np.array(values), within=(0.0, 100.0))
    assert (100 * one.low, 100 * one.high) == pytest.approx((hundred.low, hundred.high), rel=1e-6, abs=1e-9)


def test_where_the_spread_is_small_it_is_students_t() -> None:
    values = [0.8601, 0.8611, 0.8597]
    plain, inside = interval(values), interval(values, within=FRACTION)
    assert (inside.low, inside.high) == pytest.approx((plain.low, plain.high), abs=2e-5)


@pytest.mark.parametrize("within", [ANYWHERE, DIFFERENCE])
def test_the_p_value_is_below_its_level_exactly_where_the_interval_leaves_zero_out(within: Bounds) -> None:
    draw = np.random.default_rng(2)
    for _ in range(100):
        sample = draw.normal(0.2, 0.25, 4).clip(-0.99, 0.99)
        assert (p_value(sample, within) < 0.05) == bool(interval(sample, within=within).sign)
    plain = draw.normal(0.2, 1, 5)
    assert p_value(plain) == pytest.approx(stats.ttest_1samp(plain, 0).pvalue)


@pytest.mark.parametrize("sample", [[], [0.1], [0.1, 0.3], [0.2, 0.2, 0.2]])
def test_too_few_or_equal_seeds_have_no_p_value(sample: list[float]) -> None:
    assert p_value(sample) == 1
    assert p_value(sample, DIFFERENCE) == 1


def test_equal_seeds_have_an_interval_of_no_width_even_where_rounding_says_otherwise() -> None:
    found = interval([0.1 + 0.2, 0.3, 0.3], within=FRACTION)
    assert found.low == found.mean == found.high
    assert interval([1.0, 1.0, 1.0], within=FRACTION) == Estimate(1.0, 1.0, 1.0, 3)


@pytest.mark.parametrize("values", [[-math.inf, 0.1, 0.2], [-math.inf] * 3, [math.inf, 1.0, 2.0], [math.nan, 1.0, 2.0]])
def test_the_mean_of_what_is_not_finite_has_no_interval(values: list[float]) -> None:
    estimate = interval(values)
    assert (math.isnan(estimate.low), math.isnan(estimate.high), estimate.sign, p_value(values)) == (True, True, 0, 1.0)
