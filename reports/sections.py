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
from reports.figures import specification_curve
from reports.figures.drawn import Drawn, draw
from reports.figures.figure import Figure
from reports.readings import InReading, choices, dependence, standing
from reports.readings import judged as in_readings
from reports.results import Results
from reports.tables.sheet import Column, Sheet
from reports.tables.words import NONE, ranged, value
from study.statistics import at_chance

VERDICT_COLUMNS = ("claim", "status", "effect", "low", "high", "unit", "seeds", "reading")


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
    readings: tuple[InReading, ...]  # the claim in each, that of record first
    curve: Drawn  # of the effect in every reading; nothing to draw where there is one alone

    @property
    def dependence(self) -> str:
        """On what the verdict depends, in a sentence; empty where there is one reading alone."""
        return dependence(self.readings)

    @property
    def standing(self) -> str:
        """In how many of the other readings the verdict stands, and what turns it; empty where there are none."""
        return standing(self.readings)

    @property
    def charts(self) -> list[Drawn]:
        """The claim's own figure and its specification curve."""
        return [self.drawn, self.curve]

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
        readings = in_readings(claim, results)
        curve = draw(specification_curve.figure(unique, readings, choices(results.stated)), results)
        sections.append(Section(unique, claim, readings[0].judgement, drawn, scale_, tuple(readings), curve))
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
    if dead := int(at_chance(trials[trials["status"] == "complete"]).sum()):
        facts.append(f"{dead} of {(trials['status'] == 'complete').sum()} trials did not learn")
    return ", ".join(facts)


def verdicts(sections: Sequence[Section]) -> pd.DataFrame:
    """A row a claim and reading, with VERDICT_COLUMNS: the contract of verdicts.csv. Effects and ends in `unit`.

    Every claim is there in the reading of record first, then in the other readings.
    """
    judged = [(section.name, one) for section in sections for one in section.readings]
    judged.sort(key=lambda pair: not pair[1].of_record)
    rows = [
        (name, one.judgement.status, one.judgement.effect.mean, one.judgement.effect.low, one.judgement.effect.high,
         one.judgement.unit, one.judgement.effect.n, one.reading)
        for name, one in judged
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def sheet(sections: Sequence[Section]) -> Sheet:
    """The table of verdicts, to paste."""
    return Sheet(
        "verdicts",
        "Verdicts at this scale, with this many seeds. Effects with 95 % intervals.",
        (
            Column("figure", number=False), Column("claim", number=False), Column("verdict", number=False),
            Column("effect"), Column("unit", number=False), Column("seeds"),
            Column("what else it depends on", number=False),
        ),
        tuple(
            (each.label, each.claim.title, each.judgement.status, each.effect, each.judgement.unit,
             str(each.judgement.effect.n), each.standing or NONE)
            for each in sections
        ),
    )  # fmt: skip


def save_drawn(drawn: Iterable[Drawn | Drawing], out: Path) -> None:
    """Each chart as SVG, PDF and PNG, with its data as CSV, in the directory `out`."""
    for each in drawn:
        if each.spec:
            if not each.data.empty:
                each.data.to_csv(out / f"{each.figure.name}-data.csv", index=False)
            save(each.spec, out / each.figure.name)
