"""The report: one self-contained page, with every chart and table as files beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.drawing import FORMS, library
from reports.figures import FIGURES
from reports.figures.drawn import Drawn, draw
from reports.results import Results, read
from reports.sections import Drawing, Section, judged, save_drawn, sketched, unknown, verdicts
from reports.tables import environment, gap, missing
from reports.tables.ranking import ranked
from reports.tables.searched import lucky, pruning, searched, untried
from reports.tables.tuned import tuned
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
    drawn = figures(results, sections)
    save_drawn([*(chart for section in sections for chart in section.charts), *sketches, *drawn], out)
    index = out / "index.html"
    index.write_text(page(results, drawn, sections, sketches, out.resolve().parent), encoding="utf-8")
    return ReportFiles(index, table)


def figures(results: Results, sections: list[Section] | None = None) -> list[Drawn]:
    """Every figure of the page, but those that only some studies have and those that a claim has drawn.

    A study that judges claims by the start of training alone has no others.
    """
    if sections and not results.trained:
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
) -> str:
    """The page as text. It needs nothing but itself: styles, script, charts and data are inside.

    `directory`: the study's, for the commands that the page names.
    """
    sections, sketches, answer = sections or [], sketches or [], results.answer
    return render(
        "page.html.j2",
        [*drawn, *(chart for section in sections for chart in section.charts), *sketches],
        results=results,
        verdict=results.verdict,
        answer=answer,
        command="" if results.under_way else answer.command(directory or Path(results.name), results.seeds),
        ranked=ranked(results),
        rows=gap.rows(results),
        tuned=tuned(results),
        searched=searched(results),
        pruning=pruning(searched(results)),
        untried=untried(searched(results)),
        lucky=lucky(results),
        missing=[*missing.sentences(results), *unknown(results)],
        drawn=drawn,
        sections=sections,
        sketches=sketches,
        usual=results.trained or not sections,
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
        style=Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8")),
        library=Markup(library()) if specs else "",
        specs=Markup(_script(specs)),
    )


def _script(specs: dict[str, Any]) -> str:
    """JSON that may stand inside a script element, whatever names the study holds."""
    return json.dumps(specs, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
