"""Ranks and pairs against their definitions, on samples whose answer is known, and by how often they are right."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.answer import answer
from study.intervals import Estimate
from study.ranking import ranking, reach, seeds_wanted

MARGIN = 0.01


def frame(**cells: list[float]) -> pd.DataFrame:
    """Complete confirm trials; `lars_256=[…]` is the cell lars/256, a NaN a seed that diverged."""
    return pd.DataFrame([
        {"cell": name.replace("_", "/"), "phase": "confirm", "seed": seed, "test/accuracy": value,
         "status": "complete" if value == value else "diverged"}
        for name, values in cells.items() for seed, value in enumerate(values)
    ])  # fmt: skip


def ranked(margin: float = MARGIN, **cells: list[float]):
    return ranking(frame(**cells), [name.replace("_", "/") for name in cells], margin)


WIDE = [0.00, 0.02, -0.02, 0.03, -0.03]
NARROW = [0.000, 0.001, -0.001, 0.002, -0.002]


def around(level: float, spread: list[float]) -> list[float]:
    return [level + each for each in spread]


def test_what_is_beyond_doubt_has_its_rank_and_what_is_not_shares_one():
    found = ranked(a_8=around(0.5, NARROW), b_8=around(0.9, NARROW[::-1]), c_8=around(0.88, WIDE))
    assert [(place.arm, place.rank) for place in found.at(8)] == [("b", "1–2"), ("c", "1–2"), ("a", "3")]
    assert found.pair(8, "b", "a").standing == "better"
    assert found.pair(8, "a", "b").standing == "worse"
    assert found.pair(8, "b", "c").standing == "undecided"


def test_arms_within_the_margin_are_the_same_and_share_a_rank():
    found = ranked(a_8=around(0.900, NARROW), b_8=around(0.901, NARROW[1:] + NARROW[:1]))
    assert found.pair(8, "a", "b").standing == "same"
    assert [place.rank for place in found.at(8)] == ["1–2", "1–2"]
    assert ranked(0.0001, a_8=around(0.900, NARROW), b_8=around(0.901, NARROW[1:] + NARROW[:1])).pair(
        8, "a", "b"
    ).standing == "undecided"  # fmt: skip


def test_a_difference_may_be_beyond_doubt_and_small():
    level = around(0.9, NARROW)
    better = [each + 0.004 + tiny for each, tiny in zip(level, [0, 1e-5, -1e-5, 2e-5, 0], strict=True)]
    pair = ranked(a_8=level, b_8=better).pair(8, "b", "a")
    assert (pair.standing, pair.small) == ("better", True)


def test_batch_sizes_are_ranked_apart_and_arms_without_a_seed_left_out():
    nothing = [math.nan] * 5
    found = ranked(a_8=around(0.5, NARROW), b_8=around(0.6, NARROW[::-1]), a_16=around(0.7, NARROW), b_16=nothing)
    assert [[place.arm for place in found.at(size)] for size in (8, 16, 32)] == [["b", "a"], ["a"], []]
    assert found.pair(16, "a", "b") is None


def test_two_seeds_decide_nothing():
    found = ranked(a_8=[0.1, 0.11], b_8=[0.9, 0.91])
    assert found.pair(8, "b", "a").standing == "undecided"
    assert [place.rank for place in found.at(8)] == ["1–2", "1–2"]


@given(st.integers(2, 5), st.integers(3, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_ranks_follow_from_the_pairs_and_turning_a_pair_turns_its_standing(arms, seeds, seed):
    draw = np.random.default_rng(seed)
    names = [f"arm{number}" for number in range(arms)]
    levels = {name: draw.normal(0.5, 0.1) + draw.normal(0, 0.03, seeds) for name in names}
    found = ranked(**{f"{name}_8": list(np.clip(level, 0, 1)) for name, level in levels.items()})
    opposite = {"better": "worse", "worse": "better", "same": "same", "undecided": "undecided"}
    for left, right in combinations(names, 2):
        assert opposite[found.pair(8, left, right).standing] == found.pair(8, right, left).standing
        assert found.pair(8, left, right).turned.turned == found.pair(8, left, right)
    for place in found.at(8):
        others = [found.pair(8, other, place.arm) for other in names if other != place.arm]
        assert place.best == 1 + sum(pair.standing == "better" for pair in others)
        assert place.worst == arms - sum(pair.standing == "worse" for pair in others)
    assert found.at(8)[0].best == 1


@pytest.mark.parametrize("seeds", [3, 5])
def test_of_equal_arms_one_is_called_better_in_at_most_five_percent_of_studies(seeds):
    draw, wrong, studies = np.random.default_rng(1), 0, 400
    for _ in range(studies):
        common = draw.normal(0, 0.02, seeds)  # that a seed does to every arm
        cells = {f"{arm}_{size}": list(0.7 + common + draw.normal(0, 0.01, seeds)) for arm in "abc" for size in (8, 64)}
        wrong += any(pair.difference.sign for pair in ranked(**cells).pairs)
    assert wrong / studies <= stats.binom.ppf(0.999, studies, 0.05) / studies


@pytest.mark.parametrize(("spread", "margin"), [(0.02, 0.01), (0.005, 0.01), (0.1, 0.02)])
def test_the_seeds_wanted_are_the_fewest_whose_interval_fits_the_margin(spread, margin):
    def reach(n: int) -> float:
        return float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)

    wanted = seeds_wanted(spread, margin)
    assert reach(wanted) <= margin
    assert wanted == 3 or reach(wanted - 1) > margin


def test_no_number_of_seeds_is_named_where_none_would_do():
    assert seeds_wanted(math.nan, 0.01) is None
    assert seeds_wanted(1.0, 0.001) is None
    assert seeds_wanted(0.0, 0.01) == 3
    assert seeds_wanted(0.02, 0.01, 0.999) > seeds_wanted(0.02, 0.01)
    assert seeds_wanted(0.02, 0.0) is None


NONE = Estimate(math.nan, math.nan, math.nan, 0)
LOSS = Estimate(0.131, 0.12, 0.142, 5)


def test_the_answer_says_who_is_best_what_that_wins_back_and_how_sure_it_is():
    found = ranked(sgd_256=around(0.8, NARROW), lars_256=around(0.879, NARROW[::-1]), lamb_256=around(0.87, WIDE))
    said = answer(found, "sgd", LOSS)
    assert said.sentence == (
        "At batch size 256, lars is best of 3 arms (87.9 %): it wins back 7.9 of the 13.1 points that sgd loses."
    )
    assert said.doubt == "With 5 seeds lars is better than sgd beyond doubt; perhaps no better than lamb."
    spread = found.pair(256, "lars", "lamb").spread
    assert said.seeds == seeds_wanted(spread, MARGIN, 1 - 0.05 / 3)
    few = 100 * float(reach(spread, 10, 1 - 0.05 / 3))
    assert said.promise == (
        f"{said.seeds} new seeds narrow what is open to ± 1 point, and they alone decide then; 10, to ± {few:.1f}"
    )
    assert said.command(Path("x"), 5) == f"study run x/spec.yaml --dir x --set confirm/seeds={5 + said.seeds}"


def test_who_is_better_than_the_baseline_arm_ever_was_wins_back_all():
    found = ranked(sgd_256=around(0.8, NARROW), lars_256=around(0.95, NARROW[::-1]))
    assert answer(found, "sgd", LOSS).sentence.endswith(
        ": it wins back all of the 13.1 points that sgd loses, and 1.9 more."
    )


def test_an_answer_without_doubt_asks_for_no_seeds():
    said = answer(ranked(sgd_256=around(0.8, NARROW), lars_256=around(0.879, NARROW[::-1])), "sgd", NONE)
    assert said.sentence == "At batch size 256, lars is best of 2 arms (87.9 %), 7.9 points above sgd."
    assert (said.doubt, said.seeds) == ("With 5 seeds lars is better than sgd beyond doubt.", None)


def test_the_baseline_arm_may_be_best_or_alone():
    both = answer(ranked(sgd_256=around(0.8, NARROW), lars_256=around(0.7, NARROW[::-1])), "sgd", LOSS)
    assert both.sentence == (
        "At batch size 256, sgd is best of 2 arms (80.0 %): it loses 13.1 points against its baseline."
    )
    alone = answer(ranked(sgd_256=around(0.8, NARROW)), "sgd", LOSS)
    assert alone.sentence == "At batch size 256, sgd reaches 80.0 %: it loses 13.1 points against its baseline."
    assert (alone.doubt, alone.seeds) == ("", None)


def test_without_a_complete_seed_there_is_no_answer_yet():
    assert answer(ranked(sgd_256=[math.nan]), "sgd", NONE).sentence.startswith("No confirm seed is complete")


def test_two_seeds_are_said_to_tell_nothing():
    said = answer(ranked(sgd_256=[0.8, 0.81], lars_256=[0.9, 0.92]), "sgd", NONE)
    assert said.doubt == ("With 2 seeds lars is perhaps no better than sgd; fewer than 3 seeds tell nothing.")
