"""The report: one self-contained page, with every chart and table as files beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.drawing import FORMS, library
from reports.figures import FIGURES
from reports.figures.drawn import Drawn, draw
from reports.results import Results, read
from reports.sections import Drawing, Section, judged, save_drawn, scale, sheet, sketched, unknown, verdicts
from reports.tables import effort, environment, gap, missing, tuned
from reports.tables import searched as search
from reports.tables.ranking import ranked
from reports.tables.searched import lucky, pruning, searched, untried
from reports.tables.sheet import Sheet, save_sheets
from study.reports import ReportFiles

if TYPE_CHECKING:
    from study.store import Store


def write(store: Store, out: Path) -> ReportFiles:
    """Write the report on `store` into the directory `out`: a page, and verdicts where the study judges claims."""
    results = read(store)
    out.mkdir(parents=True, exist_ok=True)
    results.gaps.to_csv(out / "gap.csv", index=False)
    if results.readings:
        results.gaps_elsewhere.to_csv(out / "gap-readings.csv", index=False)
    sections, sketches = judged(results), sketched(results.claims)
    table = out / "verdicts.csv" if sections else None
    if table:
        verdicts(sections).to_csv(table, index=False)
        save_sheets([sheet(sections)], out)
    drawn = figures(results, sections)
    if usual(results, sections):
        save_sheets(sheets(results), out)
    save_drawn([*(chart for section in sections for chart in section.charts), *sketches, *drawn], out)
    index = out / "index.html"
    index.write_text(page(results, drawn, sections, sketches, out.resolve().parent), encoding="utf-8")
    return ReportFiles(index, table)


def usual(results: Results, sections: Sequence[Section]) -> bool:
    """Whether the page has more than claims: a study that judges them by the start of training alone has no gaps."""
    return results.trained or not sections


def sheets(results: Results) -> list[Sheet]:
    """The tables of the page, but that of verdicts."""
    rows, found, values = gap.rows(results), searched(results), tuned.tuned(results)
    tables = [gap.sheet(results, rows), *(each.sheet for each in ranked(results))]
    if values.keys:
        tables.append(tuned.sheet(values, rows))
    if (took := effort.sheet(results, rows)) is not None:
        tables.append(took)
    return [*tables, search.sheet(found)] if found else tables


def figures(results: Results, sections: list[Section] | None = None) -> list[Drawn]:
    """Every figure of the page, but those that only some studies have and those that a claim has drawn."""
    if not usual(results, sections or []):
        return []
    claimed = {section.claim.figure.chart for section in sections or []}
    drawn = [draw(figure, results) for figure in FIGURES if figure.chart not in claimed]
    return [each for each in drawn if each.spec or each.figure.absent]


def page(
    results: Results,
    drawn: list[Drawn],
    sections: list[Section] | None = None,
    sketches: list[Drawing] | None = None,
    directory: Path | None = None,
    settings: Sheet | None = None,
) -> str:
    """The page as text. It needs nothing but itself: styles, script, charts and data are inside.

    `directory`: the study's, for the command that the page names; `settings`: where it compares studies, those in which
    they differ.
    """
    sections, sketches, answer = sections or [], sketches or [], results.answer
    tables = {each.name: each for each in sheets(results)} if usual(results, sections) else {}
    found = searched(results)
    return render(
        "page.html.j2",
        [*drawn, *(chart for section in sections for chart in section.charts), *sketches],
        results=results,
        verdict=results.verdict,
        answer=answer,
        settings=settings,
        command=answer.command(directory, results.seeds) if directory and not results.under_way else "",
        sheets=tables,
        rankings=[each for name, each in tables.items() if name.startswith("ranking-")],
        pruning=pruning(found),
        untried=untried(found),
        lucky=lucky(results),
        missing=[*missing.sentences(results), *unknown(results)],
        drawn=drawn,
        sections=sections,
        sketches=sketches,
        usual=usual(results, sections),
        scale=scale(results),
        environment=environment.facts(results),
    )


def render(template: str, charts: list[Drawn | Drawing], **content: object) -> str:
    """A page from its template, with style, script and these charts inside."""
    templates = Environment(
        loader=PackageLoader("reports", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    specs = {each.figure.name: each.spec for each in charts if each.spec}
    return templates.get_template(template).render(
        **content,
        forms=FORMS,
        script=Markup((Path(__file__).parent / "page.js").read_text(encoding="utf-8")),
        style=Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8")),
        library=Markup(library()) if specs else "",
        specs=Markup(_script(specs)),
    )


def _script(specs: dict[str, Any]) -> str:
    """JSON that may stand inside a script element, whatever names the study holds."""
    return json.dumps(specs, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
