"""The report as a reader has it: files on a disk, and a page in a browser without a network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.figures import FIGURES
from reports.figures.drawn import Drawn
from reports.html import figures, page, write
from reports.results import Results, read
from study.reports import ReportFiles
from study.statistics import GAP_COLUMNS, gap_table
from study.store import Store
from tests.reports.conftest import STUDIES, WHOLE
from trainables.errors import Refused

USUAL = [figure for figure in FIGURES if figure.absent]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom",
)  # fmt: skip
STARTS = {"svg": b"<svg", "pdf": b"%PDF-", "png": b"\x89PNG\r\n"}


@pytest.fixture(scope="module")
def report(stores: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "study" / "report"
    assert write(stores["whole"], out) == ReportFiles(out / "index.html")
    return out


def laid_out(results: Results) -> tuple[str, list[Drawn]]:
    drawn = figures(results)
    return page(results, drawn), drawn


def browse(path: Path, profile: Path, *more: str) -> tuple[str, list[str]]:
    """The page's document once its scripts have run, and what the console said."""
    assert CHROMIUM is not None
    run = subprocess.run(
        [CHROMIUM, *FLAGS, *more, f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def charts(document: str) -> dict[str, bool]:
    """Every chart's place on the page, and whether a drawing stands there."""
    places = re.findall(r'<div class="chart[^>]*id="([^"]+)"([^>]*)>(.*?)</figure>', document, re.DOTALL)
    return {name: 'data-drawn="yes"' in tag and "<path aria-label=" in body for name, tag, body in places}


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here to open the page with")


def test_every_chart_has_its_files(report: Path) -> None:
    for figure in USUAL:
        for form, start in STARTS.items():
            assert (report / f"{figure.name}.{form}").read_bytes().startswith(start), (figure.name, form)
        assert len(pd.read_csv(report / f"{figure.name}-data.csv")) > 0, figure.name


def test_gap_csv_keeps_the_contract(report: Path, stores: dict[str, Store]) -> None:
    table = pd.read_csv(report / "gap.csv")
    assert tuple(table.columns) == GAP_COLUMNS
    expected = gap_table(stores["whole"].trials(), "sgd/32", WHOLE)
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_every_link_leads_beside_the_page(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    links = set(re.findall(r'(?:href|src)="([^"]+)"', text.partition("</main>")[0]))
    assert links == {path.name for path in report.iterdir()} - {"index.html"}


def test_the_page_says_what_the_study_found(report: Path, stores: dict[str, Store]) -> None:
    text = html.unescape((report / "index.html").read_text(encoding="utf-8"))
    results = read(stores["whole"])
    assert results.question in text
    answer = results.answer
    assert (
        text.index(answer.sentence) < text.index('id="accuracy"') < text.index('id="gap-table"') < text.index("ranking")
    )
    assert answer.doubt in text
    assert "To decide it" not in text  # a trial still runs
    assert results.verdict.trend == "grows"
    assert all(sentence in text for sentence in results.verdict.sentences)
    base = results.gaps.iloc[0]
    mean, low, high = (100 * base[key] for key in ("test_accuracy", "test_low", "test_high"))
    assert f"{mean:.2f} [{low:.2f}, {high:.2f}]" in text
    assert "mclr/128: every search trial diverged" in text
    assert "lars/512: 1 running; 2 of 3 confirm seeds have ended" in text
    assert text.count("<script") == 3  # what the page does, one library, one list of charts, however many charts


def test_a_study_that_leaves_something_open_names_the_command_that_decides(
    stores: dict[str, Store], tmp_path: Path
) -> None:
    write(stores["fixed"], tmp_path / "s t" / "report")
    text = html.unescape((tmp_path / "s t" / "report" / "index.html").read_text(encoding="utf-8"))
    again = f"study run '{tmp_path}/s t/spec.yaml' --dir '{tmp_path}/s t' --set confirm/seeds=5"
    assert f"To decide it: <code>{again}</code>" in text
    assert "3 seeds are the fewest that show their own spread" in text


@needs_chromium
def test_the_page_draws_every_chart_offline_without_a_word_on_the_console(report: Path, tmp_path: Path) -> None:
    document, console = browse(report / "index.html", tmp_path)
    assert console == []
    assert charts(document) == {figure.name: True for figure in FIGURES if (report / f"{figure.name}.svg").exists()}
    assert {figure.name for figure in USUAL} <= set(charts(document))


@needs_chromium
@pytest.mark.parametrize("name", ["fixed", "one-seed", "fixed-diverged", "</script><b>&"])
def test_odd_studies_draw_too(name: str, stores: dict[str, Store], tmp_path: Path) -> None:
    text, drawn = laid_out(read(stores[name]))
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    document, console = browse(tmp_path / "index.html", tmp_path / "profile")
    assert console == []
    assert charts(document) == {each.figure.name: True for each in drawn if each.spec}
    assert len(charts(document)) >= 3


WAIT = """<script>
addEventListener("load", () => setTimeout(() => {
  const said = {};
  try { (%s)(said); } catch (error) { said.error = String(error); }
  setTimeout(() => { document.title = JSON.stringify({...said, ...(%s)()}); }, 800);
}, 2500));
</script></body>"""


def told(report: Path, tmp_path: Path, act: str, look: str, width: int = 1280) -> dict[str, Any]:
    """What `look` finds a moment after `act`, both functions of JavaScript, in a copy of the page."""
    text, _, end = (report / "index.html").read_text(encoding="utf-8").rpartition("</body>")
    (tmp_path / "index.html").write_text(text + WAIT % (act, look) + end, encoding="utf-8")
    document, console = browse(tmp_path / "index.html", tmp_path / "profile", f"--window-size={width},900")
    assert console == []
    found = re.search(r"<title>(.*?)</title>", document)
    assert found is not None
    answer: dict[str, Any] = json.loads(html.unescape(found[1]))
    assert "error" not in answer
    return answer


@needs_chromium
def test_a_click_in_the_legend_singles_an_arm_out(report: Path, tmp_path: Path) -> None:
    click = """(said) => {
      const symbol = document.querySelectorAll("#accuracy .role-legend-symbol path")[1];
      said.hears = getComputedStyle(symbol).pointerEvents;
      symbol.dispatchEvent(new MouseEvent("click", {bubbles: true}));
    }"""
    faint = """() => ({faint: [...document.querySelectorAll("#accuracy .role-mark path")]
      .map((mark) => mark.getAttribute("opacity") + "/" + mark.getAttribute("aria-label").match(/arm: (\\w+)/)?.[1])
      .filter((mark) => mark.startsWith("0.15/"))})"""
    found = told(report, tmp_path, click, faint)
    assert found["hears"] != "none"
    assert set(found["faint"]) == {"0.15/sgd", "0.15/mclr"}


@needs_chromium
def test_a_click_on_a_title_sorts_the_table(report: Path, tmp_path: Path) -> None:
    click = "() => document.querySelectorAll('#gap-table table:first-of-type thead th')[2].click()"
    look = """() => ({cells: [...document.querySelectorAll("#gap-table table")[0].tBodies[0].rows]
      .map((row) => row.cells[2].textContent)})"""
    cells = told(report, tmp_path, click, look)["cells"]
    numbers = [float(cell.split()[0]) for cell in cells if cell != "–"]
    assert numbers == sorted(numbers)
    assert cells[len(numbers) :] == ["–"] * (len(cells) - len(numbers))


@needs_chromium
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_cut_however_narrow_the_window(report: Path, tmp_path: Path, width: int) -> None:
    """Charts of one plot fit; what is wider scrolls in a place of its own, which the keyboard reaches."""
    look = """() => ({page: document.documentElement.scrollWidth, window: innerWidth,
      scroll: [...document.querySelectorAll(".wide")].filter((each) => each.scrollWidth > each.clientWidth).length,
      charts: ["accuracy", "gap"].map((name) => document.querySelector(`#${name} svg`).getBoundingClientRect().right),
      deaf: [...document.querySelectorAll("main *")].filter((each) => each.scrollWidth > each.clientWidth + 1 &&
        ["auto", "scroll"].includes(getComputedStyle(each).overflowX) && each.tabIndex < 0).length})"""
    found = told(report, tmp_path, "() => 0", look, width)
    assert found["page"] <= found["window"]
    assert max(found["charts"]) <= found["window"]
    assert found["deaf"] == 0
    assert width < 1280 or found["scroll"] == 0


AXE = """<script>%s</script><script>
addEventListener("load", () => setTimeout(async () => {
  const found = await axe.run();
  document.title = JSON.stringify({checked: found.passes.length, violations: found.violations
    .map((each) => [each.id, each.impact, each.nodes.length, each.nodes[0].html.slice(0, 200)])});
}, 2500));
</script></body>"""


@needs_chromium
def test_axe_finds_nothing_that_shuts_a_reader_out(report: Path, tmp_path: Path) -> None:
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    text, _, end = (report / "index.html").read_text(encoding="utf-8").rpartition("</body>")
    (tmp_path / "index.html").write_text(text + AXE % axe + end, encoding="utf-8")
    document, _ = browse(tmp_path / "index.html", tmp_path / "profile", "--virtual-time-budget=60000")
    title = re.search(r"<title>(.*?)</title>", document)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert found["checked"] > 20
    assert found["violations"] == []


@needs_chromium
def test_a_chart_that_fails_would_be_seen(stores: dict[str, Store], tmp_path: Path) -> None:
    text, _ = laid_out(read(stores["fixed"]))
    broken = text.replace('"type":"rule"', '"type":"no-such-mark"')
    assert broken != text
    broken = broken.replace("</main>", '<img src="https://example.org/a.png" alt=""></main>')
    (tmp_path / "index.html").write_text(broken, encoding="utf-8")
    document, console = browse(tmp_path / "index.html", tmp_path / "profile")
    assert not charts(document)["accuracy"]
    assert any("example.org" in line for line in console)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_study_has_a_page(name: str, stores: dict[str, Store]) -> None:
    text, drawn = laid_out(read(stores[name]))
    for each in drawn:
        if each.figure.absent:
            assert (each.figure.absent in text) == (each.spec is None), each.figure.name
    body = text[text.index("<main>") : text.index("</main>")]
    assert not re.search(r"\b(nan|NaN|None|inf)\b", body)


def test_a_study_without_search_says_so_and_shows_training_accuracy(stores: dict[str, Store]) -> None:
    text, drawn = laid_out(read(stores["fixed"]))
    empty = [each.figure.name for each in drawn if each.spec is None]
    assert empty == ["slices"]
    assert "Training accuracy of the confirm trials" in text
    assert "Tuned hyperparameters" not in text


def test_names_cannot_break_out_of_the_page(stores: dict[str, Store]) -> None:
    text, _ = laid_out(read(stores["</script><b>&"]))
    assert "<script>alert" not in text
    assert "<i>s" not in text
    assert text.count("</script>") == 3


def test_a_store_that_describes_no_study_is_refused(stores: dict[str, Store], tmp_path: Path) -> None:
    store = Store(stores["whole"].uri, "bare", create=tmp_path)
    with pytest.raises(Refused, match="the study names no cell"):
        write(store, tmp_path / "report")
    assert not (tmp_path / "report").exists()
