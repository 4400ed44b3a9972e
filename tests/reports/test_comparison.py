"""Several studies on one page: their arms side by side, by the statistics of one study."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pandas as pd
import pytest

from reports.comparison import differences, together, write
from reports.html import page as laid_out
from reports.results import Results, read
from study.store import Store


@pytest.fixture(scope="module")
def studies(stores: dict[str, Store]) -> dict[str, Results]:
    return {name: read(stores[name]) for name in ("whole", "fixed")}


def test_every_arm_stands_beside_its_study_and_the_first_one_has_the_baseline(studies: dict[str, Results]) -> None:
    both = together(studies)
    assert both.arms == [f"{arm} of {name}" for name, each in studies.items() for arm in each.arms]
    assert both.baseline == "sgd of whole/32"
    assert len(both.trials) == sum(len(each.trials) for each in studies.values())
    alone = studies["whole"].gaps.drop(columns="arm")
    pd.testing.assert_frame_equal(both.gaps.iloc[: len(alone)].drop(columns="arm"), alone)


def test_a_study_beside_itself_differs_by_nothing(stores: dict[str, Store]) -> None:
    both = together({"one": read(stores["fixed"]), "other": read(stores["fixed"])})
    pairs = [pair for pair in both.ranking.pairs if pair.arm.split()[0] == pair.other.split()[0]]
    assert pairs
    assert {pair.difference.mean for pair in pairs} == {0}


def test_settings_that_differ_are_named_with_each_studys_value() -> None:
    one = "name: one\nbase: {epochs: 3, model: {width: 1}}\narms: {sgd: {optimizer: {lr: 0.1}}}"
    other = "name: other\nbase: {epochs: 4, model: {width: 1}}\narms: {}"
    sheet = differences({"one": one, "other": other})
    assert sheet.rows == (("base/epochs", "3", "4"), ("arms/sgd/optimizer/lr", "0.1", "–"))
    assert [column.title for column in sheet.columns] == ["setting", "one", "other"]
    assert differences({"one": one, "other": one}).rows == ()


def test_the_page_stands_by_itself(stores: dict[str, Store], tmp_path: Path) -> None:
    page = write({name: stores[name] for name in ("whole", "fixed")}, tmp_path / "both").page
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert "How do 2 studies compare?" in text
    assert "In no setting." in text
    assert "To decide it" not in text  # no one command decides two studies
    links = set(re.findall(r'(?:href|src)="([^"]+)"', text.partition("</main>")[0]))
    assert links == {path.name for path in page.parent.iterdir()} - {"index.html"}
    settings = differences({"whole": "base: {epochs: 3}", "fixed": "base: {epochs: 4}"})
    text = laid_out(together({"whole": read(stores["whole"])}), [], settings=settings)
    assert all(f'href="settings.{form}"' in text for form in ("md", "tex"))
    assert not re.search(r"\b(nan|NaN|None|inf)\b", text[text.index("<main>") : text.index("</main>")])
