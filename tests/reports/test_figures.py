"""Charts show their data: the right numbers at the right place."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import ModuleType

import pandas as pd
import pytest

from reports.drawing import specification
from reports.figures import FIGURES, accuracy, curves, divergence, gap, look, rates, seeds, slices
from reports.figures.by_batch_size import VALUES
from reports.results import Results, read
from study.store import Store
from tests.reports.conftest import WHOLE


@pytest.fixture(scope="module")
def whole(stores: dict[str, Store]) -> Results:
    return read(stores["whole"])


def test_names_are_the_files_stems_and_each_is_used_once() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    assert "gap" in names


def test_accuracy_has_a_mark_for_each_cell_with_a_complete_seed(whole: Results) -> None:
    table = seeds.of_means(accuracy.data(whole))
    assert len(table) == len(WHOLE) - 1  # mclr/128 never came to a confirm trial
    drawn = table.dropna(subset="low")  # two cells have two complete seeds, too few for an interval
    assert len(table) - len(drawn) == 2
    assert ((drawn["low"] <= drawn["mean"]) & (drawn["mean"] <= drawn["high"])).all()


def test_every_complete_seed_is_a_point(whole: Results) -> None:
    table = accuracy.data(whole)
    points = table[table["seed"].notna()]
    complete = whole.confirmed[whole.confirmed["status"] == "complete"]
    assert len(points) == len(complete)
    lars = points[(points["arm"] == "lars") & (points["batch_size"] == 32)]
    assert sorted(lars["mean"]) == sorted(complete.loc[complete["cell"] == "lars/32", "test/accuracy"])
    differences = gap.data(whole).dropna(subset="seed")
    gaps = differences.set_index(["arm", "batch_size", "seed"])["mean"]
    test = complete.set_index(["arm", "batch_size", "seed"])["test/accuracy"]
    assert gaps["lars", 32, 101] == pytest.approx(test["lars", 32, 101] - test["sgd", 32, 101])
    assert "sgd" not in {arm for arm, size, _ in gaps.index if size == 32}


def test_a_cell_whose_confirm_seeds_all_diverged_is_marked_lost(stores: dict[str, Store]) -> None:
    table = seeds.of_means(accuracy.data(read(stores["fixed-diverged"]))).set_index("batch_size")
    assert table["lost"].to_dict() == {32: False, 512: True}
    assert math.isnan(table["mean"][512])


def test_gap_starts_from_zero_at_the_baseline(whole: Results) -> None:
    table = gap.data(whole)
    base = table[(table["arm"] == "sgd") & (table["batch_size"] == 32)]
    assert base[["mean", "low", "high"]].to_numpy().tolist() == [[0, 0, 0]]


def test_the_baseline_alone_is_no_gap_to_draw(stores: dict[str, Store]) -> None:
    assert gap.data(read(stores["fixed-diverged"])).empty


def test_axes_have_room_for_every_bar_and_each_arm_keeps_its_look(whole: Results) -> None:
    table = accuracy.data(whole)
    spec = specification(accuracy.chart(table, whole), "")
    line, bar, points, mark, _ = (layer["encoding"] for layer in spec["layer"])
    low, high = line["y"]["scale"]["domain"]
    assert low < 100 * table["low"].min()
    assert high > 100 * table["high"].max()
    assert mark["color"]["scale"]["domain"] == mark["shape"]["scale"]["domain"] == whole.arms
    assert (bar["y"]["field"], bar["y2"]["field"], points["y"]["field"]) == ("low", "high", "mean")


@pytest.mark.parametrize(("figure", "unit"), [(accuracy, "%"), (gap, "percentage points")])
def test_tooltips_tell_in_the_axis_unit(whole: Results, figure: ModuleType, unit: str) -> None:
    table = figure.data(whole)
    spec = specification(figure.chart(table, whole), "")
    mark = spec["layer"][3]
    rows = pd.DataFrame(spec["datasets"][mark["data"]["name"] if "data" in mark else spec["data"]["name"]])
    assert rows["mean"].tolist() == pytest.approx(list(100 * table["mean"]), nan_ok=True)
    assert mark["encoding"]["y"]["axis"]["title"].endswith(f"({unit})")
    assert [each["title"] for each in mark["encoding"]["tooltip"][2:5]] == [f"{name} ({unit})" for name in VALUES]


def test_the_first_layer_holds_the_legends_selection(whole: Results) -> None:
    """Elsewhere Vega draws the legend deaf."""
    spec = specification(accuracy.chart(accuracy.data(whole), whole), "")
    (views,) = {tuple(each["views"]) for each in spec["params"]}
    assert views == (spec["layer"][0]["name"],)


def test_every_training_panel_holds_its_own_cell(whole: Results) -> None:
    """Vega-Lite's facets put the panels behind a missing cell in the wrong place: these must not."""
    spec = specification(curves.chart(curves.data(whole), whole), "")
    assert len(spec["concat"]) == len(WHOLE)
    for cell, panel in zip(WHOLE, spec["concat"], strict=True):
        arm, size = cell.split("/")
        rows = spec["datasets"][panel["data"]["name"]]
        assert panel["title"]["text"].startswith(cell)
        assert {(row["arm"], row["batch_size"]) for row in rows} <= {(arm, int(size))}
        assert bool(rows) == (cell != "mclr/128")


def test_curves_are_the_stores_and_stop_where_a_trial_diverged(whole: Results) -> None:
    table = curves.data(whole)
    ends = table.groupby(["arm", "batch_size", "seed"])["epoch"].max()
    assert ends["sgd", 32, 100] == 6
    assert ends["mclr", 512, 101] == 3
    assert whole.curve_metric == "val/accuracy"
    last = table[(table["arm"] == "sgd") & (table["batch_size"] == 32) & (table["epoch"] == 6)]
    trials = whole.confirmed
    assert sorted(last["value"]) == pytest.approx(sorted(trials.loc[trials["cell"] == "sgd/32", "val/accuracy"]))


def test_slices_are_of_searched_numbers_and_hide_a_diverged_accuracy(whole: Results) -> None:
    table = slices.data(whole)
    assert set(table["key"]) == {"optimizer/gamma", "optimizer/momentum", "schedule/warmup_epochs"}
    assert len(table) == 3 * 3 * len(WHOLE)  # keys × trials × cells
    assert (table["accuracy"].isna() == (table["status"] == "diverged")).all()


def test_slices_leave_out_keys_that_a_cell_does_not_search(whole: Results) -> None:
    fewer = {cell: () if cell.startswith("sgd") else keys for cell, keys in whole.searched.items()}
    table = slices.data(replace(whole, searched=fewer))
    assert set(table["arm"]) == {"lars", "mclr"}


def test_divergence_counts_what_ended(whole: Results) -> None:
    rows = divergence.data(whole)[["arm", "batch_size", "phase", "trials", "diverged"]].itertuples(index=False)
    counts = {tuple(row)[:3]: tuple(row)[3:] for row in rows}
    assert counts["mclr", 128, "search"] == (3, 3)
    assert counts["mclr", 512, "confirm"] == (3, 1)
    assert counts["lars", 512, "confirm"] == (2, 0)  # the third still runs
    assert ("mclr", 128, "confirm") not in counts


def test_rates_tell_what_diverged_from_what_trained(whole: Results) -> None:
    table = rates.data(whole)
    assert len(table) == 3 * len(WHOLE)
    lost = table[(table["arm"] == "sgd") & (table["batch_size"] == 32) & (table["status"] == "diverged")]
    assert lost["rate"].tolist() == [1.0]  # the last and largest of 10^-2 … 1
    assert rates.data(replace(whole, searched={})).empty


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([0.001, 0.01, 0.1, 1], True),
        ([0.01, 0.4, 0.5, 0.6, 0.9], False),  # even, if far apart
        ([1, 3, 9], False),  # less than tenfold
        ([0, 0.001, 1], False),
        ([-1, 0.01, 1], False),
        ([0.3], False),
    ],
)
def test_a_logarithmic_axis_where_it_spreads_the_values(values: list[float], log: bool) -> None:
    assert look.spread_by_factors(pd.Series(values)) == log


def test_fifty_six_arms_can_be_told_apart() -> None:
    looks = list(itertools.islice(zip(itertools.cycle(look.COLOURS), itertools.cycle(look.SHAPES)), 56))
    assert len(set(looks)) == 56
