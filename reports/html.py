"""The report: one self-contained page, with every chart and table as files beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.drawing import FORMS, library, save, specification
from reports.figures import FIGURES
from reports.figures.figure import Figure
from reports.results import Results, read
from reports.tables import environment, gap, missing
from reports.tables.tuned import tuned

if TYPE_CHECKING:
    from study.store import Store


@dataclass(frozen=True)
class Drawn:
    """A figure on the page; `spec` is None where the study has nothing to draw."""

    figure: Figure
    caption: str
    data: pd.DataFrame
    spec: dict[str, Any] | None


def write(store: Store, out: Path) -> Path:
    """Write the report on `store` into the directory `out`; returns the page, `out/index.html`."""
    results = read(store)
    out.mkdir(parents=True, exist_ok=True)
    results.gaps.to_csv(out / "gap.csv", index=False)
    drawn = figures(results)
    for each in drawn:
        if each.spec:
            each.data.to_csv(out / f"{each.figure.name}-data.csv", index=False)
            save(each.spec, out / each.figure.name)
    index = out / "index.html"
    index.write_text(page(results, drawn), encoding="utf-8")
    return index


def figures(results: Results) -> list[Drawn]:
    """Every figure of the page, but those that only some studies have."""
    drawn = [draw(figure, results) for figure in FIGURES]
    return [each for each in drawn if each.spec or each.figure.absent]


def draw(figure: Figure, results: Results) -> Drawn:
    """The figure's specification, where there are data for one."""
    data, caption = figure.data(results), figure.caption(results)
    spec = None if data.empty else specification(figure.chart(data, results), caption)
    return Drawn(figure, caption, data, spec)


def page(results: Results, drawn: list[Drawn]) -> str:
    """The page as text. It needs nothing but itself: styles, script, charts and data are inside."""
    templates = Environment(
        loader=PackageLoader("reports", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    specs = {each.figure.name: each.spec for each in drawn if each.spec}
    return templates.get_template("page.html.j2").render(
        results=results,
        verdict=results.verdict,
        rows=gap.rows(results),
        tuned=tuned(results),
        missing=missing.sentences(results),
        drawn=drawn,
        forms=FORMS,
        environment=environment.facts(results),
        style=Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8")),
        library=Markup(library()) if specs else "",
        specs=Markup(_script(specs)),
    )


def _script(specs: dict[str, Any]) -> str:
    """JSON that may stand inside a script element, whatever names the study holds."""
    return json.dumps(specs, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
