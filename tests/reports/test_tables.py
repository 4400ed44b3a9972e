"""Tables and sentences of the page."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from reports.results import read
from reports.tables import environment, gap, missing, ranking
from reports.tables.ranking import Against, ranked
from reports.tables.sheet import Column, Sheet, save_sheets
from reports.tables.tuned import tuned
from reports.tables.words import percent, value
from study.statistics import accuracies
from study.store import Store


@pytest.mark.parametrize(
    ("fraction", "low", "high", "text"),
    [
        (0.9123, 0.8991, 0.9207, "91.23 [89.91, 92.07]"),
        (-0.0123, -0.0150, -0.0096, "−1.23 [−1.50, −0.96]"),
        (0.9123, math.nan, math.nan, "91.23"),
        (math.nan, math.nan, math.nan, "–"),
        (0.0, 0.0, 0.0, "0.00"),
    ],
)
def test_percent(fraction: float, low: float, high: float, text: str) -> None:
    assert percent(fraction, low, high) == text


@pytest.mark.parametrize(
    ("setting", "text"), [(0.000123456, "0.0001235"), (8, "8"), (8.0, "8"), ("cosine", "cosine"), (-0.5, "−0.5")]
)
def test_value(setting: object, text: str) -> None:
    assert value(setting) == text


def test_gap_rows_count_seeds_and_divergences(stores: dict[str, Store]) -> None:
    rows = {row.cell: row for row in gap.rows(read(stores["whole"]))}
    assert rows["sgd/32"].baseline
    assert [row.cell for row in rows.values() if row.opens] == ["sgd/32", "lars/32", "mclr/32"]
    unlucky, dead = rows["mclr/512"], rows["mclr/128"]
    assert (unlucky.seeds, unlucky.search_diverged, unlucky.confirm_diverged) == ("2 of 3", "1 of 3", "1 of 3")
    assert (dead.test, dead.against_baseline, dead.search_diverged, dead.confirm_diverged) == ("–", "–", "3 of 3", "–")
    assert (unlucky.collapsed, dead.collapsed) == ("0 (≤ 78 %)", "–")
    assert rows["sgd/32"].test_train == "−4.00"
    assert rows["sgd/512"].against_own == rows["sgd/512"].against_baseline  # the baseline is its smallest
    assert [rows[cell].against_own for cell in ("sgd/32", "lars/32", "mclr/128")] == ["–", "–", "–"]
    test = accuracies(read(stores["whole"]).trials, ["lars/32", "lars/128"])
    won = 100 * (test["lars/128"] - test["lars/32"]).mean()
    assert won < 0
    assert rows["lars/128"].against_own.startswith(f"−{-won:.2f} [")


def test_cells_at_chance_are_marked(stores: dict[str, Store]) -> None:
    results = read(stores["whole"])
    chance = {"sgd/32": 0.2, "lars/32": 0.99, "lars/128": float(results.trials["test/accuracy"].median())}
    lost = replace(results, trials=results.trials.assign(**{"test/chance": results.trials["cell"].map(chance)}))
    sheet = gap.sheet(lost, gap.rows(lost))
    marks = {f"{row[0].split(chr(10))[0]}/{row[1]}": row[2].partition("\n")[2] for row in sheet.rows}
    assert marks["lars/32"] == "did not learn"
    assert marks["lars/128"] in ("", "did not learn", "1 of 3 did not learn", "2 of 3 did not learn")
    assert {mark for cell, mark in marks.items() if not cell.startswith("lars")} == {""}
    assert any("Did not learn" in sentence for sentence in lost.verdict.sentences)


SHEET = Sheet(
    "odd", "What % of a_b?", (Column("arm", number=False), Column("γ", "(search)")),
    (("a|b & c", "−0.5 [−1, 2]\nundecided"), ("d", "≤ 3")),
)  # fmt: skip


def test_a_sheet_pastes_into_markdown_and_latex(tmp_path: Path) -> None:
    save_sheets([SHEET], tmp_path)
    assert (tmp_path / "odd.md").read_text() == (
        "What % of a_b?\n\n| arm | γ (search) |\n| --- | ---: |\n"
        "| a\\|b & c | −0.5 [−1, 2] (undecided) |\n| d | ≤ 3 |\n"
    )
    latex = (tmp_path / "odd.tex").read_text()
    assert r"\caption{What \% of a\_b?}" in latex
    assert r"\begin{tabular}{lr}" in latex
    assert r"a|b \& c & $-$0.5 [$-$1, 2] (undecided) \\" in latex
    assert r"arm & $\gamma$ (search) \\" in latex


def test_every_batch_size_is_ranked_from_the_largest_on(stores: dict[str, Store]) -> None:
    tables = ranked(read(stores["whole"]))
    assert [table.batch_size for table in tables] == [512, 128, 32]
    small = tables[-1]
    assert small.others == tuple(row.arm for row in small.rows) == ("sgd", "lars", "mclr")
    for at, row in enumerate(small.rows):
        assert row.against[at] is None
    assert small.rows[-1].against[0] == Against("−3.05 [−4.40, −1.70]", "worse")
    first = small.rows[0].against[-1]
    assert first is not None
    assert (first.text[:7], first.standing) == ("+3.05 [", "better")
    assert ranked(read(stores["one-cell"])) == []
    assert ranked(read(stores["not-begun"])) == []


def test_of_many_arms_each_is_compared_with_the_first_alone(
    stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "MOST_ARMS", 2)
    assert [table.others for table in ranked(read(stores["whole"]))] == [("lars",), ("lars", "sgd"), ("sgd",)]


def test_tuned_values_are_what_the_confirm_trials_ran_with(stores: dict[str, Store]) -> None:
    table = tuned(read(stores["whole"]))
    assert table.keys == ("optimizer/gamma", "optimizer/momentum", "schedule/name", "schedule/warmup_epochs")
    assert table.values["lars/128"][:3] == ("0.3", "0.9", "cosine")
    assert set(table.values["mclr/128"]) == {"–"}
    assert tuned(read(stores["fixed"])).keys == ()


@pytest.mark.parametrize(
    ("study", "lines"),
    [
        ("fixed", []),
        ("one-cell", []),
        ("fixed-diverged", []),
        ("not-begun", [f"{cell}: nothing has run yet." for cell in ("sgd/32", "sgd/512", "lars/32", "lars/512")]),
        ("begun", ["sgd/32: 1 running.", "sgd/512: nothing has run yet.", "lars/32: nothing has run yet.",
                   "lars/512: nothing has run yet."]),
    ],
)  # fmt: skip
def test_missing_names_what_is_not_there(study: str, lines: list[str], stores: dict[str, Store]) -> None:
    assert missing.sentences(read(stores[study])) == lines


def test_environment_tells_versions_code_and_seeds(stores: dict[str, Store]) -> None:
    facts = dict(environment.facts(read(stores["whole"])))
    assert facts["torch"] == "2.11.0+cpu"
    assert facts["code"] == "0123abc"
    assert facts["confirm seeds"] == "100, 101, 102"
    assert "1 running" in facts["trials"]
    assert environment.facts(read(stores["not-begun"]))
