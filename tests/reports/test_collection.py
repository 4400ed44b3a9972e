"""The page of claims: verdicts on top, every claim with its rule, sketches, errata; for one study and for several."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from reports.claims import Claim, claims
from reports.collection import write
from reports.html import figures
from reports.html import write as write_study
from reports.results import read
from reports.sections import VERDICT_COLUMNS, judged, label, scale
from study.reports import ReportFiles
from study.store import Store
from tests.reports.test_html import browse, charts, needs_chromium
from tests.reports.worlds import bare, first_epoch, world

TRUTH = {"figure-9": "confirmed", "figure-3": "refuted", "figure-16": "undecided", "section-5.2": "confirmed"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    directory: Path = tmp_path_factory.mktemp("claims")
    stores = {name: world(name, how).store(directory) for name, how in TRUTH.items()}
    stores["twice"] = first_epoch("figure-11", "confirmed").store(directory, "figure-11,figure-12,figure-6,no-such")
    stores["bare"] = bare("figure-5").store(directory)
    return stores


@pytest.fixture(scope="module")
def out(made: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("collection") / "report"
    files = write(made, ["figure-6", "figure-15"], "paper", "Which claims hold, in made-up data?", directory)
    assert files == ReportFiles(directory / "index.html", directory / "verdicts.csv")
    return directory


def words(page: Path) -> str:
    return html.unescape(page.read_text(encoding="utf-8"))


def test_verdicts_csv_is_the_contract(out: Path) -> None:
    table = pd.read_csv(out / "verdicts.csv").set_index("claim")
    assert (*["claim"], *table.columns) == VERDICT_COLUMNS
    assert {name: table.loc[name, "status"] for name in TRUTH} == TRUTH
    assert table.loc["figure-5", "status"] == "undecided"
    assert table.loc["figure-5", "seeds"] == 0
    known = table.loc["figure-9"]
    assert known["low"] < known["effect"] < known["high"]


def test_the_table_comes_first_in_the_papers_order(out: Path) -> None:
    text = words(out / "index.html")
    body = text[text.index("<main>") : text.index("</main>")]
    rows = re.findall(r'<th scope="row"><a href="#claim-([^"]+)">', body)
    sections = ["figure-3", "figure-5", "figure-9", "figure-11", "figure-12", "figure-16", "section-5.2"]
    assert rows == [*sections, "figure-6", "figure-15"]
    assert [f'id="claim-{name}"' in body for name in rows] == [True] * len(rows)
    assert body.index("verdicts.csv") < body.index('id="claim-figure-3"') < body.index('id="errata"')
    assert "7 claims, 4 confirmed, 1 refuted, 2 undecided" in body


def test_each_claim_shows_its_rule_its_verdict_and_its_scale(out: Path, made: dict[str, Store]) -> None:
    text = words(out / "index.html")
    for name in ("figure-3", "figure-9"):
        section = judged(read(made[name]))[0]
        claim = claims.get(name)
        assert isinstance(claim, Claim)
        for part in (claim.says, claim.statistic, claim.confirms, claim.refutes, section.judgement.sentence):
            assert part in text
        assert section.scale in text
    assert "✓ confirmed" in text
    assert "✗ refuted" in text
    assert "? undecided" in text
    assert "study figure-9, alexnet, width 0.125, cifar10, 5,000 training images, 1 epoch, 4 seeds" in text
    assert "twice" not in text or "no-such: no claim of this name is installed here." in text


def test_every_link_leads_beside_or_within_the_page(out: Path) -> None:
    text = (out / "index.html").read_text(encoding="utf-8")
    links = set(re.findall(r'(?:href|src)="([^"]+)"', text.partition("</main>")[0]))
    within = {link[1:] for link in links if link.startswith("#")}
    assert within <= set(re.findall(r'id="([^"]+)"', text))
    assert {link for link in links if not link.startswith("#")} == {path.name for path in out.iterdir()} - {
        "index.html"
    }
    assert (out / "section-5.2.svg").read_bytes().startswith(b"<svg")


def test_all_six_errata_stand_on_the_page(out: Path) -> None:
    text = words(out / "index.html")
    errata = text[text.index('id="errata"') : text.index("<h2>Environment")]
    assert errata.count("<li>") == 6
    for piece in ("√(2/π)", "erf(", "(<i>N</i> − <i>n</i>)", "50,000", "−<i>η<sub>i</sub></i>", "tenfold", "figure 2"):
        assert piece in errata
    body = text[text.index("<main>") : text.index("</main>")]
    assert not re.search(r"\b(nan|NaN|None|inf)\b", body)


def test_two_studies_may_judge_the_same_claim(made: dict[str, Store], tmp_path: Path) -> None:
    again = world("figure-9", "refuted")
    again.claim = "again"
    stores = {"figure-9": made["figure-9"], "again": again.store(tmp_path, "figure-9")}
    write(stores, [], "two", "Twice?", tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "verdicts.csv")
    assert table["claim"].tolist() == ["figure-9", "again-figure-9"]
    assert table["status"].tolist() == ["confirmed", "refuted"]


def test_a_collection_of_sketches_needs_no_study(tmp_path: Path) -> None:
    files = write({}, ["figure-6"], "figure-6", "What is a step?", tmp_path)
    assert 'id="claim-figure-6"' in words(files.page)
    assert len(pd.read_csv(tmp_path / "verdicts.csv")) == 0


def test_a_study_with_claims_shows_them_before_the_rest(made: dict[str, Store], tmp_path: Path) -> None:
    assert write_study(made["twice"], tmp_path).verdicts == tmp_path / "verdicts.csv"
    text = words(tmp_path / "index.html")
    assert text.index('id="claim-figure-11"') < text.index('id="claim-figure-12"') < text.index('id="gap-table"')
    assert "no-such: no claim of this name is installed here." in text
    assert 'id="claim-figure-6"' in text
    assert pd.read_csv(tmp_path / "verdicts.csv")["claim"].tolist() == ["figure-11", "figure-12"]


def test_a_study_of_one_epoch_shows_its_claims_alone(made: dict[str, Store], tmp_path: Path) -> None:
    write_study(made["figure-9"], tmp_path)
    text = words(tmp_path / "index.html")
    assert 'id="claim-figure-9"' in text
    assert 'id="gap-table"' not in text  # the style names it too
    assert "Environment" in text


def test_a_claims_figure_is_drawn_once() -> None:
    results = world("figure-1", "confirmed").results()
    assert "accuracy" in {each.figure.name for each in figures(results)}
    assert "accuracy" not in {each.figure.name for each in figures(results, judged(results))}


@needs_chromium
def test_the_page_draws_offline_without_a_word_on_the_console(out: Path, tmp_path: Path) -> None:
    document, console = browse(out / "index.html", tmp_path)
    assert console == []
    drawn = charts(document)
    assert all(drawn.values()), drawn
    assert {*TRUTH, "figure-11", "figure-12", "figure-6", "figure-15"} == set(drawn)


@pytest.mark.parametrize(
    ("name", "text"),
    [("figure-3", "Figure 3"), ("section-4.2", "Section 4.2"), ("fixed-steps", "Beyond: fixed steps")],
)
def test_labels(name: str, text: str) -> None:
    assert label(name) == text


def test_scale_is_told_as_far_as_it_is_known(stores: dict[str, Store]) -> None:
    assert scale(read(stores["not-begun"])) == "study not-begun, 0 seeds"


def test_stored_and_in_memory_studies_give_one_verdict(made: dict[str, Store]) -> None:
    for name, how in [("figure-9", "confirmed"), ("section-5.2", "confirmed")]:
        stored, memory = read(made[name]), world(name, how).results()
        claim = claims.get(name)
        assert isinstance(claim, Claim)
        assert json.dumps(vars(claim.judge(stored).effect)) == json.dumps(vars(claim.judge(memory).effect))
