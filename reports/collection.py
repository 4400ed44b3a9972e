"""The page of a collection of studies: all their claims with a table of verdicts on top, sketches and errata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.figures.drawn import Drawn
from reports.html import render
from reports.results import read
from reports.sections import Drawing, Section, in_order, judged, save_drawn, sheet, sketched, unknown, verdicts
from reports.tables import environment, missing
from reports.tables.sheet import save_sheets
from study.reports import ReportFiles

if TYPE_CHECKING:
    from study.store import Store


def write(stores: Mapping[str, Store], sketches: Sequence[str], title: str, question: str, out: Path) -> ReportFiles:
    """Write the page on the studies in `stores` (by name) into the directory `out`; returns it and its verdicts.

    `sketches`: the collection's own claims, of which those that are sketches are drawn. Beside the page lie the charts
    and verdicts.csv.
    """
    sections: list[Section] = []
    notes: list[str] = []
    environments = []
    drawings = list(sketches)
    for name, store in stores.items():
        results = read(store)
        sections += judged(results, [section.name for section in sections])
        drawings += results.claims
        notes += [f"{name}, {sentence}" for sentence in (*missing.sentences(results), *unknown(results))]
        environments.append((name, environment.facts(results)))
    sections.sort(key=in_order)
    drawn = sketched(dict.fromkeys(drawings))
    out.mkdir(parents=True, exist_ok=True)
    table = out / "verdicts.csv"
    verdicts(sections).to_csv(table, index=False)
    save_sheets([sheet(sections)], out)
    charts: list[Drawn | Drawing] = [*(chart for section in sections for chart in section.charts), *drawn]
    save_drawn(charts, out)
    text = render(
        "collection.html.j2",
        charts,
        title=title,
        question=question,
        tally=tally(sections),
        sections=sections,
        sketches=drawn,
        missing=notes,
        environments=environments,
    )
    index = out / "index.html"
    index.write_text(text, encoding="utf-8")
    return ReportFiles(index, table)


def tally(sections: Sequence[Section]) -> str:
    """`3 claims confirmed, 1 refuted, 2 undecided`."""
    statuses = [section.judgement.status for section in sections]
    counts = [f"{statuses.count(status)} {status}" for status in ("confirmed", "refuted", "undecided")]
    return f"{len(statuses)} claims, {', '.join(counts)}"
