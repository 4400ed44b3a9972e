"""The page of several studies: which settings differ, and all their arms side by side, by a study's own statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from reports.html import figures, page, sheets
from reports.results import Results, read
from reports.sections import save_drawn
from reports.tables.sheet import Column, Sheet, save_sheets
from reports.tables.words import NONE, value
from study.cell_name import CellName
from study.reports import ReportFiles
from study.text import listed
from trainables.tree import flatten

if TYPE_CHECKING:
    from study.store import Store


def write(stores: Mapping[str, Store], out: Path) -> ReportFiles:
    """Write the page on the studies in `stores`, by the names that tell them apart, into the directory `out`."""
    studies = {name: read(store) for name, store in stores.items()}
    results, settings = together(studies), differences({name: each.spec for name, each in studies.items()})
    out.mkdir(parents=True, exist_ok=True)
    results.gaps.to_csv(out / "gap.csv", index=False)
    drawn = figures(results)
    save_drawn(drawn, out)
    save_sheets([*([settings] if settings.rows else []), *sheets(results)], out)
    index = out / "index.html"
    index.write_text(page(results, drawn, settings=settings), encoding="utf-8")
    return ReportFiles(index)


def together(studies: Mapping[str, Results]) -> Results:
    """As if one study had run them all: arms are called `ARM of STUDY`, the baseline is the first study's."""
    first = next(iter(studies.values()))
    parts = [_renamed(each, partial(_of, name)) for name, each in studies.items()]
    metrics = {part.curve_metric for part in parts}
    return replace(
        parts[0],
        name=listed(list(studies)),
        question=f"How do {len(studies)} studies compare?",
        cells=tuple(cell for part in parts for cell in part.cells),
        trials=_below(part.trials for part in parts),
        searched=_joined(part.searched for part in parts),
        curve_metric=first.curve_metric if len(metrics) == 1 else "train/accuracy",
        curves=_below(part.curves for part in parts),
        summaries=_joined(part.summaries for part in parts),
        repeats=_joined(part.repeats for part in parts),
        confirmed_anywhere=_below(part.confirmed_anywhere for part in parts),
        looked=max((part.looked for part in parts if part.looked), default=None),
        environment=_environment(studies),
        claims=(), readings={}, stated={}, elsewhere=first.trials.iloc[:0], spec="",
        _read={}, _readings={},
    )  # fmt: skip


def differences(specs: Mapping[str, str]) -> Sheet:
    """The settings that are not the same in all of these specs (YAML, by study): a row a setting."""
    flat = {name: _settings(spec) for name, spec in specs.items()}
    keys = dict.fromkeys(key for settings in flat.values() for key in settings)
    rows = [(key, *(_shown(settings, key) for settings in flat.values())) for key in keys if key != "name"]
    return Sheet(
        "settings",
        "The settings in which the studies differ; – where a study does not have it, or its spec cannot be read.",
        (Column("setting", number=False), *(Column(name, number=False) for name in specs)),
        tuple(row for row in rows if len(set(row[1:])) > 1),
    )


def _settings(spec: str) -> dict[str, Any]:
    """Leaves by path; none of a text that is no YAML mapping, as where an old version kept its beginning alone."""
    try:
        tree = yaml.safe_load(spec)
    except yaml.YAMLError:
        return {}
    return dict(flatten(tree)) if isinstance(tree, dict) else {}


def _environment(studies: Mapping[str, Results]) -> dict[str, Any]:
    """What all studies share as it is, of the rest each study's own."""
    facts: dict[str, Any] = {}
    for key in dict.fromkeys(key for each in studies.values() for key in each.environment):
        found = {name: value(each.environment.get(key, NONE)) for name, each in studies.items()}
        same = len(set(found.values())) == 1
        facts[key] = found.popitem()[1] if same else "; ".join(f"{text} ({name})" for name, text in found.items())
    return facts


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return value(settings[key]) if key in settings else NONE


def _of(study: str, cell: str) -> str:
    """`"sgd/32"` → `"sgd of mine/32"`."""
    name = CellName.parse(cell)
    return str(replace(name, arm=f"{name.arm} of {study}"))


def _renamed(results: Results, name: Callable[[str], str]) -> Results:
    def cells(table: pd.DataFrame) -> pd.DataFrame:
        if table.empty:
            return table
        names = table["cell"].map(name)
        return table.assign(cell=names, arm=names.map(lambda cell: CellName.parse(cell).arm))

    return replace(
        results,
        cells=tuple(map(name, results.cells)),
        baseline=name(results.baseline),
        trials=cells(results.trials),
        searched={name(cell): keys for cell, keys in results.searched.items()},
        summaries={name(cell): summary for cell, summary in results.summaries.items()},
        repeats={name(cell): tuple(map(name, repeats)) for cell, repeats in results.repeats.items()},
        confirmed_anywhere=cells(results.confirmed_anywhere),
    )


def _below(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The tables below each other; an empty one brings no column."""
    found = list(tables)
    return pd.concat([each for each in found if len(each)] or found[:1], ignore_index=True)


def _joined(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: each for part in parts for key, each in part.items()}
