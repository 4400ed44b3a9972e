"""The installed reports, and what they hand back: this package knows none of the files that they write.

The packages that write reports sit above this one, so they are reached by their entry points:
`study.reports` for one study, `study.collection_reports` for a collection of studies, `study.comparison_reports` for
several studies side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from study.store import Store


@dataclass(frozen=True)
class ReportFiles:
    """The files of one report that the command line shows.

    `page` is for a browser. `verdicts` is a CSV with a row a claim and reading and the columns claim, status, effect,
    low, high, unit, seeds and (where there are several) reading; None where the report judges no claim.
    """

    page: Path
    verdicts: Path | None = None


class StudyReport(Protocol):
    """Writes the report on one study."""

    def __call__(self, store: Store, out: Path) -> ReportFiles:
        """`store` holds the study's results, `out` is the directory to write into, which may not exist yet."""
        ...


class CollectionReport(Protocol):
    """Writes the report on several studies."""

    def __call__(
        self, stores: Mapping[str, Store], claims: Sequence[str], title: str, question: str, out: Path
    ) -> ReportFiles:
        """`stores` holds the results by the study's name, `claims` are the collection's own."""
        ...


class ComparisonReport(Protocol):
    """Writes the page that compares studies."""

    def __call__(self, stores: Mapping[str, Store], out: Path) -> ReportFiles:
        """`stores` holds the results of two studies or more, by the names that tell them apart."""
        ...


def study_reports() -> list[StudyReport]:
    """Every installed report on one study."""
    return [entry.load() for entry in entry_points(group="study.reports")]


def comparison_reports() -> list[ComparisonReport]:
    """Every installed report that compares studies."""
    return [entry.load() for entry in entry_points(group="study.comparison_reports")]


def collection_reports() -> list[CollectionReport]:
    """Every installed report on a collection."""
    return [entry.load() for entry in entry_points(group="study.collection_reports")]
