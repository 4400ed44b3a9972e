"""The search beside what it led to, and the luck of it."""

import html
import re
from dataclasses import replace

import pytest

from reports.html import figures, page
from reports.results import read
from reports.tables.searched import lucky, pruning, searched, untried
from reports.tables.words import percent
from study.intervals import DIFFERENCE, interval
from tests.reports.studies import MadeUp, invent

EDGE = "optimizer/gamma = 0.00995, at the end 0.01 of its range"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    cells = ("sgd/32", "sgd/128", "lars/32")
    study = MadeUp("searched", cells, search=5, repeats=("sgd~1/32", "sgd~2/32"), edge=EDGE)
    return read(invent(study, tmp_path_factory.mktemp("searched")))


def test_a_row_a_cell_with_its_budget_and_what_it_promised(results):
    rows = searched(results)
    assert [(row.arm, row.batch_size, row.opens) for row in rows] == [
        ("sgd", 32, True), ("sgd", 128, False), ("lars", 32, True),
    ]  # fmt: skip
    for row in rows:
        assert row.trials == "5 of 5"
        assert row.ended == "3 complete, 1 pruned, 1 diverged"
        cell = f"{row.arm}/{row.batch_size}"
        confirm = results.confirmed.loc[results.confirmed["cell"] == cell, "val/accuracy"]
        curse = interval(0.95 - confirm, within=DIFFERENCE)  # anew, not the store's own
        assert (row.best, row.curse) == ("95.00", percent(curse.mean, curse.low, curse.high))
        assert "[" in row.curse
        assert row.edges == (EDGE,)


def test_repeats_stand_apart_from_the_studys_cells(results):
    assert set(results.trials["cell"]) == {"sgd/32", "sgd/128", "lars/32"}
    assert list(results.gaps["arm"]) == ["sgd", "sgd", "lars"]
    (row,) = lucky(results)
    assert row.cell == "sgd/32"
    assert len(row.searches) == 3
    assert re.search(
        r"in points: \d\.\d\d from search to search, \d\.\d\d from seed to seed \(3 searches\)", row.sentence
    )


def test_pruning_is_said_once_where_it_is_the_same_everywhere(results):
    rows = searched(results)
    assert pruning(rows) == "median in every cell."
    assert pruning([replace(rows[0], pruning="off: discard would mislead it"), *rows[1:]]) == (
        "off: discard would mislead it in sgd/32; median in sgd/128, lars/32."
    )
    assert pruning([replace(row, pruning="none") for row in rows]) == ""


def test_a_study_of_fixed_values_has_no_such_table(tmp_path):
    results = read(invent(MadeUp("fixed", ("sgd/32", "sgd/64"), search=0), tmp_path))
    assert searched(results) == []
    assert 'id="search"' not in page(results, figures(results))


def test_repeats_that_have_not_run_are_said(tmp_path):
    cells = ("sgd/32", "sgd/64")
    results = read(invent(MadeUp("r", cells, repeats=("sgd~1/32",), untouched=("sgd~1/32",)), tmp_path))
    (row,) = lucky(results)
    assert row.sentence == "1 of 2 searches can be compared: too few to tell search luck from seed luck."


def test_the_page_shows_it(results):
    text = html.unescape(page(results, figures(results)))
    assert EDGE in text
    assert "winner's curse" in text
    assert "Search luck in sgd/32." in text


def test_the_page_names_choices_that_were_never_tried_and_spaces_of_unequal_size(results):
    assert untried(searched(results)) == ""
    plain = page(results, [])
    assert "Never tried" not in plain
    assert "Unequal spaces" not in plain
    summary = results.summaries["sgd/32"]
    never = replace(summary, end=replace(summary.end, untried=("schedule/name = cosine, constant", "on = False")))
    sentence = "Arms search spaces of unequal size with the same number of trials: 1 dimension in sgd; 2 in <lars>"
    partly = replace(results, summaries={**results.summaries, "sgd/32": never}, unequal=sentence)
    assert untried(searched(partly)) == "sgd/32: schedule/name = cosine, constant, on = False"
    shown = page(partly, [])
    assert "No search trial had these choices. sgd/32: schedule/name = cosine, constant, on = False." in shown
    assert "2 in &lt;lars&gt;." in shown
