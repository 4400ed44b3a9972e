"""How long arms need to reach a target, by hand: none of these numbers was ever measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from reports import effort
from reports.figures import profile
from reports.results import Results
from reports.tables import effort as table
from reports.tables import environment, gap
from tests.reports.worlds import World

# accuracy by epoch: the target is 95 % of the baseline cell's 0.8, so 0.76
CURVES = {
    ("sgd", 32): [0.5, 0.77, 0.8, 0.8],
    ("sgd", 512): [0.2, 0.3, 0.5, 0.77],
    ("lars", 32): [0.8, 0.8, 0.8, 0.8],
    ("lars", 512): [0.2, 0.3, 0.4, 0.5],
}


def results(**changes) -> Results:
    def trial(arm, n, _draw):
        return [{"train/accuracy": value, "time/train_seconds": 10.0 * epoch, "test/accuracy": value,
                 "time/trial_seconds": 100.0}
                for epoch, value in enumerate(CURVES[arm, n], 1)]  # fmt: skip

    world = World("effort", tuple(f"{arm}/{n}" for arm, n in CURVES), trial, seeds=3, **changes)
    return world.results()


def test_a_seed_is_there_from_the_first_epoch_at_whose_end_it_has_the_targets_accuracy():
    found = results()
    assert effort.target(found) == pytest.approx(0.76)
    usual = effort.usual(effort.reached(found)).set_index("cell")
    assert usual["epoch"].fillna(-1).to_dict() == {"sgd/32": 2, "sgd/512": 4, "lars/32": 1, "lars/512": -1}
    assert usual["seconds"].fillna(-1).to_dict() == {"sgd/32": 30, "sgd/512": 100, "lars/32": 10, "lars/512": -1}
    assert usual["there"].to_dict() == {"sgd/32": 3, "sgd/512": 3, "lars/32": 3, "lars/512": 0}


@pytest.mark.parametrize(
    ("taken", "median"), [([3, 1, 2], 2), ([1, None, 2], 2), ([1, None, None], None), ([1, None], 1)]
)
def test_seeds_that_never_arrive_take_longest(taken, median):
    rows = pd.DataFrame({"cell": "a/1", "arm": "a", "batch_size": 1, "seed": range(len(taken)), "epoch": taken})
    found = effort.usual(rows.assign(epoch=rows["epoch"].astype(float), seconds=math.nan)).iloc[0]
    assert (found["epoch"] == median) if median else math.isnan(found["epoch"])
    assert math.isnan(found["seconds"])


def test_the_table_says_epochs_steps_images_and_time():
    found = results()
    sheet = table.sheet(found, gap.rows(found))
    assert sheet is not None
    rows = {(arm, size): cells for arm, size, *cells in sheet.rows}
    assert "95 % of what the baseline cell ends at, 76.00 % training accuracy" in sheet.caption
    assert rows["sgd", "512"] == [
        "–",
        "5 min 0 s",
        "3 of 3",
        "4",
        f"{4 * (5000 // 512)}",
        f"{4 * 9 * 512:,}",
        "1 min 40 s",
    ]
    assert rows["lars", "512"] == ["–", "5 min 0 s", "0 of 3", "–", "–", "–", "–"]
    assert dict(environment.facts(found))["training time"] == "0.33 hours, summed over trials"


def test_steps_are_left_out_where_a_trick_changes_the_batch():
    found = results(params={"lars": {"trick/first_epoch/batch_size": 8}})
    sheet = table.sheet(found, gap.rows(found))
    assert sheet is not None
    rows = {tuple(cells[:2]): cells for cells in sheet.rows}
    assert rows["lars", "32"][6:8] == ("–", "5,000")
    assert rows["sgd", "32"][6:8] == (f"{2 * (5000 // 32)}", f"{2 * (5000 // 32) * 32:,}")


def test_without_a_complete_baseline_there_is_no_target():
    found = results(diverges=tuple(("sgd/32", seed) for seed in range(3)))
    assert math.isnan(effort.target(found))
    assert table.sheet(found, gap.rows(found)) is None
    assert profile.data(found).empty


def test_a_profile_counts_batch_sizes_by_how_much_slower_than_the_fastest_an_arm_is():
    """At 32 lars takes 1 epoch and sgd 2; at 512 sgd 4, and lars never arrives."""
    data = profile.data(results())
    steps = {arm: list(zip(rows["ratio"], rows["share"], strict=True)) for arm, rows in data.groupby("arm")}
    assert steps == {"lars": [(1.0, 0.5), (4.0, 0.5)], "sgd": [(1.0, 0.5), (2.0, 1.0), (4.0, 1.0)]}
    assert "76.00 %" in profile.caption(results())
    one_size = replace(results(), cells=("sgd/32", "lars/32"))
    assert profile.data(one_size).empty
    one_arm = replace(results(), cells=("sgd/32", "sgd/512"))
    assert profile.data(one_arm).empty
