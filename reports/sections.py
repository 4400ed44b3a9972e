"""A claim as a section of a page: its verdict, its figure and what to say beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from reports.claims import Claim, Judgement, Missing, Sketch, claims
from reports.claims.shared.evidence import images
from reports.drawing import save, specification
from reports.figures.drawn import Drawn, draw
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged, value

VERDICT_COLUMNS = ("claim", "status", "effect", "low", "high", "unit", "seeds")


@dataclass(frozen=True)
class Line:
    """A part of a verdict, as the page shows it."""

    label: str
    value: str
    unit: str
    seeds: int
    status: str | None


@dataclass(frozen=True)
class Section:
    """A judged claim on a page; `name` is unique there."""

    name: str
    claim: Claim
    judgement: Judgement
    drawn: Drawn
    scale: str

    @property
    def label(self) -> str:
        return label(self.claim.name)

    @property
    def effect(self) -> str:
        effect = self.judgement.effect
        return ranged(effect.mean, effect.low, effect.high)

    @property
    def parts(self) -> list[Line]:
        return [
            Line(
                part.label,
                ranged(part.effect.mean, part.effect.low, part.effect.high),
                part.unit,
                part.effect.n,
                part.status,
            )
            for part in self.judgement.parts
        ]


@dataclass(frozen=True)
class Drawing:
    """A sketch on a page, in the form of a drawn figure."""

    figure: Figure
    caption: str
    data: pd.DataFrame
    spec: dict[str, object]

    @property
    def label(self) -> str:
        return label(self.figure.name)


def label(name: str) -> str:
    """`figure-3` → `Figure 3`, `section-4.2` → `Section 4.2`, `fixed-steps` → `Beyond: fixed steps`."""
    kind, _, number = name.partition("-")
    if kind in ("figure", "section") and re.fullmatch(r"[\d.]+", number):
        return f"{kind.capitalize()} {number}"
    return f"Beyond: {name.replace('-', ' ')}"


def in_order(section: Section) -> tuple[int, float]:
    """The paper's figures, then its sections, then what goes beyond it."""
    kind, _, number = section.label.partition(" ")
    return (("Figure", "Section", "Beyond:").index(kind), float(number) if kind != "Beyond:" else 0.0)


def judged(results: Results, taken: Iterable[str] = ()) -> list[Section]:
    """The study's claims in the order of its spec, those that are not installed left out; `taken`: names in use."""
    used, scale_, sections = set(taken), scale(results), []
    for name in results.claims:
        claim = claims.get(name) if name in claims else None
        if not isinstance(claim, Claim):
            continue
        unique = name if name not in used else f"{results.name}-{name}"
        used.add(unique)
        drawn = draw(replace(claim.figure, name=unique), results)
        sections.append(Section(unique, claim, claim.judge(results), drawn, scale_))
    return sections


def sketched(names: Iterable[str]) -> list[Drawing]:
    """Those of the names that are sketches."""
    drawings = []
    for name in names:
        sketch = claims.get(name) if name in claims else None
        if isinstance(sketch, Sketch):
            drawings.append(_drawing(sketch))
    return drawings


def _drawing(sketch: Sketch) -> Drawing:
    nothing = pd.DataFrame()
    figure = Figure(
        sketch.name, sketch.title, lambda _: sketch.caption, lambda _: nothing, lambda *_: sketch.chart(), None
    )
    return Drawing(figure, sketch.caption, nothing, specification(sketch.chart(), sketch.caption))


def unknown(results: Results) -> list[str]:
    """A sentence for each claim of the study that is not installed here."""
    return [f"{name}: no claim of this name is installed here." for name in results.claims if name not in claims]


def scale(results: Results) -> str:
    """What the study trained, so that a reader knows what a verdict speaks of."""
    trials = results.confirmed
    facts = [f"study {results.name}"]
    for key, form in (("model/name", "{}"), ("model/width", "width {}"), ("data/name", "{}")):
        kinds = list(dict.fromkeys(trials[key].dropna())) if key in trials else []
        if len(kinds) == 1:
            facts.append(form.format(value(kinds[0])))
    with suppress(Missing):
        facts.append(f"{images(results):,} training images")
    if "epochs" in trials and len(trials):
        low, high = int(trials["epochs"].min()), int(trials["epochs"].max())
        facts.append(f"{low} epoch{'' if high == 1 else 's'}" if low == high else f"{low}–{high} epochs")
    complete = trials[trials["status"] == "complete"]["seed"].nunique()
    facts.append(f"{complete} seed{'' if complete == 1 else 's'}")
    return ", ".join(facts)


def verdicts(sections: Sequence[Section]) -> pd.DataFrame:
    """A row a claim, with VERDICT_COLUMNS: the contract of verdicts.csv. Effects and ends in `unit`."""
    rows = []
    for each in sections:
        effect = each.judgement.effect
        rows.append(
            (each.name, each.judgement.status, effect.mean, effect.low, effect.high, each.judgement.unit, effect.n)
        )
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def save_drawn(drawn: Iterable[Drawn | Drawing], out: Path) -> None:
    """Each chart as SVG, PDF and PNG, with its data as CSV, in the directory `out`."""
    for each in drawn:
        if each.spec:
            if not each.data.empty:
                each.data.to_csv(out / f"{each.figure.name}-data.csv", index=False)
            save(each.spec, out / each.figure.name)
