"""Ranks of the arms at each batch size, and every pair of them."""

from __future__ import annotations

from dataclasses import dataclass

from reports.results import Results
from reports.tables.sheet import Column, Sheet
from reports.tables.words import NONE, percent
from study.ranking import Pair, Place, Ranking

MOST_ARMS = 12  # of which every pair is shown; of more, each arm against the best alone


@dataclass(frozen=True)
class Against:
    """One arm against another: the difference in points with its interval, and what the seeds say of it."""

    text: str
    standing: str


@dataclass(frozen=True)
class Row:
    """An arm at one batch size, beside those that it is compared with."""

    arm: str
    rank: str
    accuracy: str
    against: tuple[Against | None, ...]  # None for itself, and where no seed is complete in both


@dataclass(frozen=True)
class Ranked:
    """One batch size: the arms from the most accurate on, each against the `others`."""

    batch_size: int
    others: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def sheet(self) -> Sheet:
        """As it stands on the page."""
        return Sheet(
            f"ranking-{self.batch_size}",
            f"Batch size {self.batch_size:,}: {self.rows[0].arm} first",
            (
                Column("rank", number=False), Column("arm", number=False), Column("test accuracy"),
                *(Column(f"against {other}") for other in self.others),
            ),
            tuple(
                (row.rank, row.arm, row.accuracy,
                 *(f"{each.text}\n{each.standing}" if each else NONE for each in row.against))
                for row in self.rows
            ),
            heads=frozenset({1}),
        )  # fmt: skip


def ranked(results: Results) -> list[Ranked]:
    """A table a batch size, from the largest on; none where no batch size has two arms to rank."""
    tables = []
    for size in reversed(results.batch_sizes):
        places = results.ranking.at(size)
        if len(places) > 1:
            others = tuple(place.arm for place in (places if len(places) <= MOST_ARMS else places[:1]))
            tables.append(Ranked(size, others, tuple(_row(results.ranking, place, others) for place in places)))
    return tables


def _row(ranking: Ranking, place: Place, others: tuple[str, ...]) -> Row:
    pairs = (ranking.pair(place.batch_size, place.arm, other) for other in others)
    level = place.accuracy
    return Row(
        place.arm,
        place.rank,
        percent(level.mean, level.low, level.high),
        tuple(None if pair is None else _against(pair) for pair in pairs),
    )


def _against(pair: Pair) -> Against:
    difference = pair.difference
    text = percent(difference.mean, difference.low, difference.high)
    if text != NONE and difference.mean > 0:
        text = f"+{text}"
    return Against(text, pair.standing)
