"""Intervals against scipy, the gap table and the verdict against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from study.statistics import (
    GAP_COLUMNS,
    Estimate,
    accuracies,
    describe,
    gap_table,
    holm,
    interval,
    luck,
    paired,
    simultaneous,
    slopes,
    spread_ratio,
    verdict,
    winners_curse,
)
from trainables.errors import Refused

FRACTIONS = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def confirm(cell: str, *tests: float | str, **more: Any) -> list[dict[str, Any]]:
    """A row a seed of `cell`: its test accuracy (train: 0.99), or how else it ended."""
    return [
        {"cell": cell, "phase": "confirm", "seed": seed, "status": "complete", "test/accuracy": test,
         "gap/train_test": 0.99 - test, **more}
        if isinstance(test, float)
        else {"cell": cell, "phase": "confirm", "seed": seed, "status": test, **more}
        for seed, test in enumerate(tests)
    ]  # fmt: skip


def frame(*cells: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for cell in cells for row in cell])


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, on values that are nearly equal
@given(FRACTIONS)
def test_interval_is_scipys(values: list[float]) -> None:
    mine = interval(values)
    if stats.sem(values) == 0:
        assert mine.low == mine.mean == mine.high
    else:
        theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
    assert (mine.mean, mine.n) == (pytest.approx(np.mean(values)), len(values))


@given(FRACTIONS, st.floats(-1, 1))
def test_interval_moves_with_its_values(values: list[float], by: float) -> None:
    here, there = interval(values), interval(np.array(values) + by)
    assert (there.low - here.low, there.high - here.high) == pytest.approx((by, by), abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
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


def test_paired_keeps_the_common_seeds() -> None:
    left, right = pd.Series({0: 0.9, 1: 0.8, 2: np.nan}), pd.Series({1: 0.5, 2: 0.1, 7: 0.3})
    assert paired(left, right).to_dict() == {1: pytest.approx(0.3)}


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-0.1, 0.1)), min_size=1, max_size=5))
def test_slopes_recover_lines(lines: list[tuple[float, float]]) -> None:
    sizes = [32, 128, 512, 4096]
    table = pd.DataFrame([[level + slope * math.log2(size) for size in sizes] for level, slope in lines])
    assert slopes(table, sizes) == pytest.approx([slope for _, slope in lines], abs=1e-12)


def test_slopes_agree_with_scipy_and_skip_seeds_that_lack_a_size() -> None:
    sizes = [32, 128, 512]
    table = pd.DataFrame([[0.9, 0.7, 0.8], [0.9, np.nan, 0.1]])
    expected = stats.linregress(np.log2(sizes), [0.9, 0.7, 0.8]).slope
    assert slopes(table, sizes) == pytest.approx([expected])


def test_accuracies_leave_out_search_superseded_and_incomplete_trials() -> None:
    trials = frame(
        confirm("sgd/32", 0.9, "diverged", "running"),
        confirm("sgd/32", 0.1, superseded="true"),
        [{"cell": "sgd/32", "phase": "search", "seed": 5, "status": "complete", "test/accuracy": 0.2}],
    )
    table = accuracies(trials, ["sgd/32", "sgd/64"])
    assert table["sgd/32"].dropna().to_dict() == {0: 0.9}
    assert table["sgd/64"].isna().all()


def test_gap_table_by_hand() -> None:
    trials = frame(confirm("sgd/32", 0.90, 0.92, 0.94), confirm("sgd/64", 0.80, "diverged", 0.86))
    table = gap_table(trials, "sgd/32", ["sgd/32", "sgd/64", "lars/32"]).set_index(["arm", "batch_size"])

    base, large, empty = table.loc[("sgd", 32)], table.loc[("sgd", 64)], table.loc[("lars", 32)]
    reach = stats.t.ppf(0.975, 2) * 0.02 / math.sqrt(3)
    assert (base.test_low, base.test_high) == pytest.approx((0.92 - reach, 0.92 + reach))
    assert (base.gap_batch, base.gap_batch_low, base.gap_batch_high) == (0, 0, 0)
    assert base.gap_train_test == pytest.approx(0.07)

    assert (large.seeds, large.diverged, large.test_accuracy) == (3, 1, pytest.approx(0.83))
    reach = stats.t.ppf(0.975, 1) * 0.01  # seeds 0 and 2: gaps 0.10 and 0.08
    assert (large.gap_batch, large.gap_batch_high) == pytest.approx((0.09, 0.09 + reach))

    assert (empty.seeds, empty.diverged) == (0, 0)
    assert empty.drop(["seeds", "diverged"]).isna().all()


def test_gap_table_pairs_by_seed_and_not_by_position() -> None:
    shuffled = frame(confirm("a/1", 0.9, 0.5), confirm("a/2", 0.8, 0.4)[::-1])
    row = gap_table(shuffled, "a/1", ["a/1", "a/2"]).iloc[1]
    assert (row.gap_batch_low, row.gap_batch_high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("trials", [pd.DataFrame(), frame(confirm("sgd/32", "diverged", "failed"))])
def test_gap_table_of_an_unfinished_study_keeps_its_rows_and_columns(trials: pd.DataFrame) -> None:
    table = gap_table(trials, "sgd/32", ["sgd/32", "sgd/64"])
    assert tuple(table.columns) == GAP_COLUMNS
    assert table["batch_size"].tolist() == [32, 64]
    assert table["gap_batch"].isna().all()


def test_one_seed_has_means_without_intervals() -> None:
    table = gap_table(frame(confirm("a/1", 0.9), confirm("a/2", 0.7)), "a/1", ["a/1", "a/2"])
    assert table["gap_batch"].tolist() == pytest.approx([0, 0.2])
    assert table["test_low"].isna().all()
    assert table["gap_batch_low"].tolist()[0] == 0
    assert math.isnan(table["gap_batch_low"].tolist()[1])


def test_wrong_names_are_refused() -> None:
    with pytest.raises(Refused, match=r"baseline = 'sgd/16'.*choose one of sgd/32, sgd/64"):
        gap_table(pd.DataFrame(), "sgd/16", ["sgd/32", "sgd/64"])
    with pytest.raises(Refused, match="ARM/BATCH_SIZE"):
        verdict(pd.DataFrame(), "sgd", ["sgd"])


ORDER = ["sgd/32", "sgd/128", "lars/32", "lars/128", "mclr/128"]


def growing(**last: Any) -> pd.DataFrame:
    return frame(
        confirm("sgd/32", 0.90, 0.92, 0.91),
        confirm("sgd/128", 0.80, 0.83, 0.82),
        confirm("lars/128", 0.85, 0.881, 0.869),
        confirm("mclr/128", *last.get("mclr", (0.70, 0.95, 0.82))),
    )


def test_verdict_by_hand() -> None:
    result = verdict(growing(), "sgd/32", ORDER)
    drops = np.array([0.10, 0.09, 0.09])
    assert result.slope.mean == pytest.approx(-drops.mean() / 2)  # 32 → 128 are two doublings
    assert (result.trend, result.largest) == ("grows", 128)
    assert result.gap.mean == pytest.approx(drops.mean())

    lars, mclr = result.comparisons
    assert (lars.arm, lars.gain.sign, lars.gain.mean) == ("lars", 1, pytest.approx(0.05))
    assert lars.share == pytest.approx(0.05 / drops.mean())
    reach = stats.t.ppf(1 - 0.05 / 2 / 2, 2) * stats.sem([0.05, 0.051, 0.049])  # two arms share the 5 %
    assert lars.gain.high == pytest.approx(0.05 + reach)
    assert mclr.gain.sign == 0

    text = " ".join(result.sentences)
    assert result.headline.startswith("The gap grows with batch size: sgd's test accuracy changes by −4.67")
    assert "lars wins back +5.00 percentage points" in text
    assert "about 54% of the gap" in text
    assert "Undecided with 3 seeds: mclr differs" in text


def test_verdict_turns_round_with_its_data() -> None:
    trials = frame(confirm("sgd/32", 0.80, 0.83, 0.82), confirm("sgd/128", 0.90, 0.92, 0.91))
    result = verdict(trials, "sgd/32", ["sgd/32", "sgd/128"])
    assert result.trend == "shrinks"
    assert result.comparisons == ()


def test_verdict_says_undecided_and_with_how_many_seeds() -> None:
    trials = frame(confirm("sgd/32", 0.90, 0.92, 0.91), confirm("sgd/128", 0.95, 0.85, 0.90))
    assert verdict(trials, "sgd/32", ORDER[:2]).headline.startswith("Undecided with 3 seeds whether the gap grows")
    assert "1 seed; an interval needs two" in verdict(trials[trials.seed == 0], "sgd/32", ORDER[:2]).headline


def test_verdict_names_what_diverged_and_claims_no_share_of_an_unsure_gap() -> None:
    trials = frame(
        confirm("sgd/32", 0.90, 0.92, 0.91), confirm("sgd/128", 0.80, "diverged", "diverged"),
        confirm("lars/128", "diverged", "diverged", "diverged"), confirm("mclr/128", 0.9, 0.9, 0.9),
    )  # fmt: skip
    result = verdict(trials, "sgd/32", ORDER)
    assert result.diverged == ("sgd/128 (2 of 3)", "lars/128 (3 of 3)")
    assert all(math.isnan(each.share) for each in result.comparisons)
    assert any(line.startswith("lars cannot be compared") for line in result.sentences)


def test_a_batch_size_that_always_diverges_is_left_out_and_named() -> None:
    trials = frame(
        confirm("s/1", 0.9, 0.91), confirm("s/2", 0.8, 0.82), confirm("s/4", "diverged", "diverged")
    )  # fmt: skip
    result = verdict(trials, "s/1", ["s/1", "s/2", "s/4"])
    assert (result.batch_sizes, result.left_out, result.slope.n) == ((1, 2), (4,), 2)
    assert any("no complete seed at batch size 4" in line for line in result.sentences)


@pytest.mark.parametrize(
    ("order", "trials"),
    [
        (["s/1"], frame(confirm("s/1", 0.9, 0.8))),
        (["s/1", "t/1"], frame(confirm("s/1", 0.9, 0.8), confirm("t/1", 0.95, 0.84))),
        (["s/1", "s/2"], pd.DataFrame()),
        (["s/1", "s/2"], frame(confirm("s/1", 0.9, "failed"), confirm("s/2", "failed", 0.9))),
    ],
)
def test_verdict_of_what_cannot_be_said(order: list[str], trials: pd.DataFrame) -> None:
    result = verdict(trials, "s/1", order)
    assert result.trend == "undecided"
    assert "nan" not in " ".join(result.sentences)


def test_numbers_read_as_percentage_points_with_a_true_minus() -> None:
    assert describe(Estimate(-0.0123, -0.02, 0.001, 5)) == (
        "−1.23 percentage points (95 % interval −2.00 to +0.10, 5 seeds)"
    )


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


def test_spread_ratio_covers_the_true_ratio_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    found = [spread_ratio(draw.normal(0, 2, 6), draw.normal(5, 1, 6)) for _ in range(800)]
    assert 0.93 < np.mean([each.low < 2 < each.high for each in found]) < 0.97
    assert math.isnan(spread_ratio([1.0], [1.0, 2.0]).mean)
    assert math.isnan(spread_ratio([1.0, 1.0], [1.0, 2.0]).low)


def test_through_takes_mean_and_ends_to_another_unit() -> None:
    assert Estimate(0.0, -1.0, 1.0, 3).through(math.exp) == Estimate(1.0, math.exp(-1), math.e, 3)


def confirm_trials(cells):
    """{cell: test accuracies by seed} as the store's trials."""
    rows = [
        {"cell": cell, "phase": "confirm", "seed": seed, "status": "complete"}
        | {"test/accuracy": value, "val/accuracy": value}
        for cell, values in cells.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_winners_curse_is_what_the_best_trial_promised_too_much():
    curse = winners_curse(0.95, confirm_trials({"sgd/32": [0.90, 0.92, 0.94]}), "sgd/32")
    assert curse.mean == pytest.approx(0.03)
    assert (curse.low, curse.high) == pytest.approx(stats.t.interval(0.95, 2, 0.03, stats.sem([0.05, 0.03, 0.01])))


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
