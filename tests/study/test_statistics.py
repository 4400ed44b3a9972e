"""Intervals against scipy, the gap table and the verdict against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from study.intervals import Estimate
from study.statistics import (
    GAP_COLUMNS,
    accuracies,
    counting,
    deciding,
    describe,
    gap_table,
    own_gaps,
    paired,
    slopes,
    smallest_batch,
    trained,
    unlearned,
    verdict,
    winners_curse,
)
from tests.study.simulation import confirm_trials
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


def test_a_seed_did_not_learn_where_it_ends_no_better_than_by_guessing() -> None:
    trials = frame(
        confirm("sgd/32", 0.9, 0.12, "diverged", **{"test/chance": 0.12}),
        confirm("sgd/64", 0.1, 0.11, **{"test/chance": 0.12}),
        confirm("sgd/128", 0.9, 0.8, **{"test/chance": 0.12}),
        confirm("lars/32", 0.1, 0.1),
    )
    cells = ["sgd/32", "sgd/64", "sgd/128", "lars/32"]
    assert unlearned(trials, cells) == {"sgd/32": (1, 2), "sgd/64": (2, 2)}
    said = verdict(trials, "sgd/64", cells).doubts
    assert said[:2] == (
        "Did not learn, no better than guessing: sgd/32 (1 of 2), sgd/64 (2 of 2).",
        "The baseline sgd/64 is among them: what is won or lost against it says little.",
    )
    assert not any("baseline" in sentence for sentence in verdict(trials, "sgd/128", cells).doubts)
    assert unlearned(trials.drop(columns="test/chance"), cells) == {}


def test_accuracies_leave_out_search_superseded_and_incomplete_trials() -> None:
    trials = frame(
        confirm("sgd/32", 0.9, "diverged", "running"),
        confirm("sgd/32", 0.1, superseded="true"),
        [{"cell": "sgd/32", "phase": "search", "seed": 5, "status": "complete", "test/accuracy": 0.2}],
    )
    table = accuracies(trials, ["sgd/32", "sgd/64"])
    assert table["sgd/32"].dropna().to_dict() == {0: 0.9}
    assert table["sgd/64"].isna().all()
    assert trials["test/accuracy"][counting(trials)].to_list() == [0.9]
    assert counting(frame([{"cell": "sgd/32", "phase": "search", "seed": 5, "status": "complete"}])).to_list() == [
        False
    ]


def test_own_gaps_are_to_the_arms_smallest_batch_over_shared_seeds() -> None:
    order = ["sgd/64", "sgd/32", "lars/64", "lars/128"]
    trials = frame(
        confirm("sgd/32", 0.9, 0.8), confirm("sgd/64", 0.7, "diverged"), confirm("lars/64", 0.6, 0.6),
        confirm("lars/128", 0.7, 0.7),
    )  # fmt: skip
    assert smallest_batch(order) == {
        "sgd/64": "sgd/32",
        "sgd/32": "sgd/32",
        "lars/64": "lars/64",
        "lars/128": "lars/64",
    }
    found = own_gaps(trials, order)
    assert found == pytest.approx({"sgd/64": 0.2, "sgd/32": 0.0, "lars/64": 0.0, "lars/128": -0.1})
    assert math.isnan(own_gaps(frame(confirm("sgd/32", 0.9)), ["sgd/32", "sgd/64"])["sgd/64"])


def test_gap_table_by_hand() -> None:
    trials = frame(confirm("sgd/32", 0.90, 0.92, 0.94, 0.92), confirm("sgd/64", 0.80, "diverged", 0.86, 0.83))
    table = gap_table(trials, "sgd/32", ["sgd/32", "sgd/64", "lars/32"])
    base, large, empty = (row for _, row in table.set_index(["arm", "batch_size"]).iterrows())
    reach = stats.t.ppf(0.975, 3) * math.sqrt(0.0008 / 3) / 2 / (0.92 * 0.08)  # on the logit scale
    ends = special.expit(special.logit(0.92) + np.array([-reach, reach]))
    assert (base.test_low, base.test_high) == pytest.approx(tuple(ends))
    assert (base.gap_batch, base.gap_batch_low, base.gap_batch_high) == (0, 0, 0)
    assert base.gap_train_test == pytest.approx(0.07)

    assert (large.seeds, large.diverged, large.test_accuracy) == (4, 1, pytest.approx(0.83))
    reach = stats.t.ppf(0.975, 2) * 0.01 / math.sqrt(3)  # seeds 0, 2 and 3: gaps 0.10, 0.08 and 0.09
    reach /= 2 * (1.09 / 2) * (0.91 / 2)
    high = 2 * special.expit(special.logit(1.09 / 2) + reach) - 1
    assert (large.gap_batch, large.gap_batch_high) == pytest.approx((0.09, high))

    assert (empty.seeds, empty.diverged) == (0, 0)
    assert empty.drop(["seeds", "diverged"]).isna().all()


def test_gap_table_pairs_by_seed_and_not_by_position() -> None:
    shuffled = frame(confirm("a/1", 0.9, 0.5, 0.7), confirm("a/2", 0.8, 0.4, 0.6)[::-1])
    row = gap_table(shuffled, "a/1", ["a/1", "a/2"]).iloc[1]
    assert (row.gap_batch_low, row.gap_batch_high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("trials", [pd.DataFrame(), frame(confirm("sgd/32", "diverged", "failed"))])
def test_gap_table_of_an_unfinished_study_keeps_its_rows_and_columns(trials: pd.DataFrame) -> None:
    table = gap_table(trials, "sgd/32", ["sgd/32", "sgd/64"])
    assert tuple(table.columns) == GAP_COLUMNS
    assert table["batch_size"].tolist() == [32, 64]
    assert table["gap_batch"].isna().all()


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_have_means_without_intervals(seeds: int) -> None:
    table = gap_table(frame(confirm("a/1", *[0.9] * seeds), confirm("a/2", *[0.7] * seeds)), "a/1", ["a/1", "a/2"])
    assert table["gap_batch"].tolist() == pytest.approx([0, 0.2])
    assert table["test_low"].isna().all()
    assert table["gap_batch_low"].tolist()[0] == 0
    assert math.isnan(table["gap_batch_low"].tolist()[1])


def test_wrong_names_are_refused() -> None:
    with pytest.raises(Refused, match=r"baseline = 'sgd/16'.*choose one of sgd/32, sgd/64"):
        gap_table(pd.DataFrame(), "sgd/16", ["sgd/32", "sgd/64"])
    with pytest.raises(Refused, match="ARM/BATCH_SIZE"):
        verdict(pd.DataFrame(), "sgd", ["sgd"])
    with pytest.raises(Refused, match=r"baseline = 'sgd/16'.*choose one of sgd/32"):
        verdict(pd.DataFrame(), "sgd/16", ["sgd/32"])
    with pytest.raises(Refused, match="the study names no cell"):
        verdict(pd.DataFrame(), "sgd/16", [])


def test_seeds_that_were_looked_at_before_more_were_asked_for_decide_nothing() -> None:
    trials = frame(confirm("sgd/32", 0.90, 0.92, 0.91, 0.5, 0.6), [{"cell": "sgd/32", "phase": "search", "seed": 1}])
    assert deciding(trials, 3)["seed"].tolist() == [3, 4, 1]
    assert deciding(trials, None) is trials
    assert deciding(pd.DataFrame(), 3).empty


@pytest.mark.parametrize(
    ("trials", "expected"),
    [({"epochs": [1, 2]}, True), ({"epochs": [1, 1]}, False), ({"seed": [0]}, True), ({"epochs": []}, False)],
)
def test_measurements_at_the_start_are_no_training(trials: dict[str, list[int]], expected: bool) -> None:
    assert trained(pd.DataFrame(trials)) is expected


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

    text = " ".join(result.sentences)
    assert result.headline.startswith("The gap grows with batch size: sgd's test accuracy changes by −4.67")
    assert "At batch size 128, sgd loses 9.33 percentage points (95 % interval +7.9" in text


def test_verdict_turns_round_with_its_data() -> None:
    trials = frame(confirm("sgd/32", 0.80, 0.83, 0.82), confirm("sgd/128", 0.90, 0.92, 0.91))
    result = verdict(trials, "sgd/32", ["sgd/32", "sgd/128"])
    assert result.trend == "shrinks"
    assert "At batch size 128, sgd wins 9.33 percentage points (95 % interval +7.9" in " ".join(result.sentences)


def test_verdict_says_undecided_and_with_how_many_seeds() -> None:
    trials = frame(confirm("sgd/32", 0.90, 0.92, 0.91), confirm("sgd/128", 0.95, 0.85, 0.90))
    assert verdict(trials, "sgd/32", ORDER[:2]).headline.startswith("Undecided with 3 seeds whether the gap grows")
    assert "1 seed; an interval needs 3" in verdict(trials[trials.seed == 0], "sgd/32", ORDER[:2]).headline


def test_verdict_names_what_diverged() -> None:
    trials = frame(
        confirm("sgd/32", 0.90, 0.92, 0.91), confirm("sgd/128", 0.80, "diverged", "diverged"),
        confirm("lars/128", "diverged", "diverged", "diverged"), confirm("mclr/128", 0.9, 0.9, 0.9),
    )  # fmt: skip
    result = verdict(trials, "sgd/32", ORDER)
    assert result.diverged == ("sgd/128 (2 of 3)", "lars/128 (3 of 3)")


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


def test_the_winners_curse_is_what_the_best_trial_promised_too_much():
    curse = winners_curse(0.95, confirm_trials({"sgd/32": [0.90, 0.92, 0.94]}), "sgd/32")
    assert curse.mean == pytest.approx(0.03)
    student = stats.t.interval(0.95, 2, 0.03, stats.sem([0.05, 0.03, 0.01]))
    assert (curse.low, curse.high) == pytest.approx(student, abs=2e-4)


def test_no_interval_of_the_table_leaves_what_is_possible() -> None:
    """The quickstart's cell of 9bd26f5: 86.2 ± 20.7 %, a bar up to 106.9 %."""
    trials = frame(confirm("s/1", 0.98, 0.97, 0.98, 0.97, 0.99), confirm("s/2", 0.92, 0.93, 0.91, 0.93, 0.62))
    table = gap_table(trials, "s/1", ["s/1", "s/2"])
    assert table[["test_low", "gap_batch_low"]].min(axis=None) > -1
    assert table["test_low"].min() > 0
    assert table["test_high"].max() < 1
    assert table["test_low"][1] < 0.7 < 0.92 < table["test_high"][1]


def test_a_collapsed_seed_is_named() -> None:
    trials = frame(confirm("s/1", 0.98, 0.97, 0.98, 0.97, 0.99), confirm("s/2", 0.92, 0.93, 0.91, 0.93, 0.62))
    result = verdict(trials, "s/1", ["s/1", "s/2"])
    (sentence,) = result.collapsed
    assert sentence.endswith(": s/2: 1 of 5 seeds ended at 62 %.")
    assert sentence in result.sentences
    assert [each.n for each in result.collapses] == [5, 5]
    assert verdict(trials, "s/1", ["s/1"]).collapsed == ()
