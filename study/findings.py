"""What a study's trials say: gaps, verdict, ranking and answer, all from the same trials by the same rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from study.answer import Answer, answer
from study.ranking import Ranking, ranking
from study.statistics import Verdict, arm_of, check_baseline, confirmed, deciding, gap_table, unlearned, verdict


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Of the trials of one reading, each computed when it is first asked for. Raises Refused without a baseline."""

    trials: pd.DataFrame  # a row a trial
    cells: tuple[str, ...]  # as the spec orders them, also those that nothing has run in
    baseline: str  # a cell
    margin: float = 1.0  # points of accuracy; arms that differ by no more are the same
    looked: int | None = None  # confirm seeds that were there before more were asked for, and decide nothing

    def __post_init__(self) -> None:
        check_baseline(self.baseline, self.cells)

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """The confirm trials that count."""
        return confirmed(self.trials)

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """`study.statistics.gap_table`, of all seeds."""
        return gap_table(self.trials, self.baseline, self.cells)

    @cached_property
    def unlearned(self) -> dict[str, tuple[int, int]]:
        """`study.statistics.unlearned`, of all seeds."""
        return unlearned(self.trials, self.cells)

    @cached_property
    def verdict(self) -> Verdict:
        """How the baseline arm's accuracy changes with the batch size, by the seeds that decide."""
        return verdict(self._deciding, self.baseline, self.cells)

    @cached_property
    def ranking(self) -> Ranking:
        """Which arms are better than which at each batch size, by the seeds that decide."""
        return ranking(self._deciding, self.cells, self.margin / 100)

    @property
    def answer(self) -> Answer:
        """The study's answer in words."""
        return answer(self.ranking, arm_of(self.baseline), self.verdict.gap)

    @property
    def seeds(self) -> int:
        """Confirm seeds that the cells were given so far."""
        return int(self.confirmed["seed"].nunique())

    @property
    def _deciding(self) -> pd.DataFrame:
        return deciding(self.trials, self.looked)
