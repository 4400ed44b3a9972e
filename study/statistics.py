"""From confirm trials to intervals, the gap table and the verdict. Accuracies are fractions of 1 throughout.

All rests on one table, `accuracies`: seeds × cells, NaN where a seed is not complete. Every cell is retrained
on the same seeds, so cells are compared seed by seed, which cancels what a seed does to both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from study.cell_name import RECORD, CellName
from study.collapse import Collapse, collapse, sentences
from study.intervals import DIFFERENCE, FRACTION, SEEDS, Estimate, interval
from trainables.errors import Refused

GAP_COLUMNS = (
    "arm", "batch_size", "seeds", "diverged", "test_accuracy", "test_low", "test_high",
    "gap_batch", "gap_batch_low", "gap_batch_high", "gap_train_test",
)  # fmt: skip


# Seeds


def paired(left: pd.Series[float], right: pd.Series[float]) -> pd.Series[float]:
    """`left - right` over the seeds that both hold; each is indexed by seed."""
    return (left - right).dropna()


def slopes(accuracy: pd.DataFrame, batch_sizes: Sequence[float]) -> npt.NDArray[np.float64]:
    """Least-squares change of accuracy per doubling of the batch size, one a seed: (seeds, sizes) → (seeds,).

    A seed counts only when complete at every size, else seeds would be compared over different sizes.
    """
    doublings = np.log2(np.asarray(batch_sizes, dtype=np.float64))
    centred = doublings - doublings.mean()
    whole = accuracy.dropna().to_numpy(dtype=np.float64)
    return np.asarray(whole @ centred / (centred @ centred))


def winners_curse(best: float, trials: pd.DataFrame, cell: str) -> Estimate:
    """The best search trial's validation accuracy minus that of its configuration on the confirm seeds.

    The best of many is best partly by luck: this is by how much it promised too much.
    """
    return interval(best - accuracies(trials, [cell], "val/accuracy")[cell].dropna(), within=DIFFERENCE)


# Trials


def confirmed(trials: pd.DataFrame) -> pd.DataFrame:
    """The confirm trials that count, one for each cell and seed; superseded ones do not."""
    if "phase" not in trials:
        return pd.DataFrame(columns=["cell", "seed", "status"])
    counts = trials["phase"] == "confirm"
    if "superseded" in trials:
        counts &= trials["superseded"] != "true"
    return trials[counts].drop_duplicates(["cell", "seed"], keep="last")


def counting(trials: pd.DataFrame) -> pd.Series[bool]:
    """Trial by trial, whether its test accuracy is in the gap table: complete confirm trials, not superseded.

    It is the tag `counts`, which a store older than it, or one of a study that runs, lacks.
    """
    done = confirmed(trials)
    return pd.Series(trials.index.isin(done.index[done["status"] == "complete"]), index=trials.index)


def deciding(trials: pd.DataFrame, looked: int | None) -> pd.DataFrame:
    """The trials that a verdict may rest on: not the first `looked` confirm seeds, seen before more were asked for.

    Whoever asks for more seeds because of what the first ones gave, and then counts both, is wrong more often than one
    time in twenty; the new seeds alone are not.
    """
    if not looked or "phase" not in trials:
        return trials
    return trials[(trials["phase"] != "confirm") | (trials["seed"] >= looked)]


def in_reading(trials: pd.DataFrame, reading: str) -> pd.DataFrame:
    """The trials of one reading, their cells called as their twins of record, so that all else reads them alike."""
    names = trials["cell"].map(lambda cell: CellName.parse(str(cell)))
    here = names.map(lambda name: name.reading == reading).astype(bool)
    return trials[here].assign(cell=names[here].map(lambda name: str(replace(name, reading=RECORD))))


def trained(trials: pd.DataFrame) -> bool:
    """Whether any trial was meant to train beyond its first epoch; measurements at the start have no gap to tell."""
    return "epochs" not in trials or bool((trials["epochs"] > 1).any())


def accuracies(trials: pd.DataFrame, cells: Sequence[str], metric: str = "test/accuracy") -> pd.DataFrame:
    """`metric` by confirm seed (rows) and cell (columns, in this order); NaN where not complete."""
    done = confirmed(trials)
    done = done[done["status"] == "complete"]
    if metric not in done or done.empty:
        return pd.DataFrame(columns=list(cells), dtype=float)
    return done.pivot(index="seed", columns="cell", values=metric).reindex(columns=list(cells)).astype(float)


def at_chance(trials: pd.DataFrame) -> pd.Series:
    """Trial by trial, whether it ended no better than by guessing; false where that is not known."""
    if not {"test/accuracy", "test/chance"} <= set(trials):
        return pd.Series(False, index=trials.index)
    return trials["test/accuracy"] <= trials["test/chance"]


def unlearned(trials: pd.DataFrame, cells: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The cells in which complete confirm seeds ended no better than by guessing: how many, of how many.

    None of a store older than the metric `test/chance`.
    """
    done = confirmed(trials)
    done = done[done["status"] == "complete"]
    by_cell = at_chance(done).groupby(done["cell"])
    lost, seeds = by_cell.sum(), by_cell.size()
    return {cell: (int(lost[cell]), int(seeds[cell])) for cell in cells if lost.get(cell, 0)}


def arm_of(cell: str) -> str:
    """`"sgd/32"` → `"sgd"`."""
    return CellName.parse(cell).arm


def batch_size_of(cell: str) -> int:
    """`"sgd/32"` → `32`."""
    return CellName.parse(cell).batch_size


# The table


def gap_table(trials: pd.DataFrame, baseline: str, order: Sequence[str]) -> pd.DataFrame:
    """A row a cell of `order`, with GAP_COLUMNS: the contract of gap.csv.

    `seeds` counts the confirm seeds tried, `diverged` those of them that diverged; means are over complete
    seeds, with the 95 % intervals of `study.intervals`. `gap_batch` is the baseline cell's test accuracy minus this
    cell's, seed by seed.
    """
    check_baseline(baseline, order)
    tried, test = confirmed(trials), accuracies(trials, order)
    train_test = accuracies(trials, order, "gap/train_test")
    rows = []
    for cell in order:
        here = tried[tried["cell"] == cell]
        level = interval(test[cell].dropna(), within=FRACTION)
        gap = interval(paired(test[baseline], test[cell]), within=DIFFERENCE)
        if cell == baseline and gap.n:
            gap = Estimate(0.0, 0.0, 0.0, gap.n)  # by definition, even with one seed
        diverged = int((here["status"] == "diverged").sum())
        rows.append(
            (arm_of(cell), batch_size_of(cell), len(here), diverged, level.mean, level.low, level.high,
             gap.mean, gap.low, gap.high, train_test[cell].mean())
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


def smallest_batch(order: Sequence[str]) -> dict[str, str]:
    """By cell, that of its arm at the arm's smallest batch size."""
    ascending = sorted(order, key=batch_size_of)
    return {cell: next(each for each in ascending if arm_of(each) == arm_of(cell)) for cell in order}


def own_gaps(trials: pd.DataFrame, order: Sequence[str]) -> dict[str, float]:
    """By cell, the mean of its arm's test accuracy at the smallest batch size minus its own, seed by seed."""
    test = accuracies(trials, order)
    return {cell: float(paired(test[own], test[cell]).mean()) for cell, own in smallest_batch(order).items()}


def check_baseline(baseline: str, order: Sequence[str]) -> None:
    """Raises Refused where a study's cells, in `order`, lack its baseline, or there are none."""
    if not order:
        raise Refused("cells", "", "the study names no cell", "describe it in the store by running `study run`")
    if baseline not in order:
        raise Refused("baseline", baseline, "is no cell of this study", f"choose one of {', '.join(order)}")


# The verdict


@dataclass(frozen=True)
class Verdict:
    """Does the baseline arm's gap grow with batch size? Which arms win it back, `study.ranking` says."""

    arm: str  # the baseline's
    batch_sizes: tuple[int, ...]  # that the trend is taken over
    left_out: tuple[int, ...]  # where no seed of the baseline arm is complete
    slope: Estimate  # test accuracy of the baseline arm per doubling of the batch size
    largest: int  # batch size
    gap: Estimate  # the baseline cell's test accuracy minus the baseline arm's at the largest batch size
    diverged: tuple[str, ...]  # "sgd/512 (1 of 3)": cells that lost confirm seeds
    unlearned: tuple[str, ...]  # as these, cells in which seeds ended at chance
    baseline: str
    collapses: tuple[Collapse, ...]  # of every cell of the study

    @property
    def trend(self) -> Literal["grows", "shrinks", "undecided"]:
        """Of the gap: it grows where accuracy falls."""
        return "grows" if self.slope.sign < 0 else "shrinks" if self.slope.sign > 0 else "undecided"

    @property
    def headline(self) -> str:
        """Whether the gap grows, in a sentence."""
        if len(self.batch_sizes) < 2:
            where = _list(self.batch_sizes) + " only" if self.batch_sizes else "no batch size"
            return f"Whether the gap grows cannot be said: {self.arm} is complete at {where}."
        change = f"{self.arm}'s test accuracy changes by {describe(self.slope)} per doubling of the batch size"
        if self.trend == "undecided":
            return f"Undecided with {_seeds(self.slope.n)} whether the gap grows with batch size: {change}."
        span = f"from {min(self.batch_sizes)} to {max(self.batch_sizes)}"
        return f"The gap {self.trend} with batch size: {change}, {span}."

    @property
    def sentences(self) -> tuple[str, ...]:
        """The whole verdict, the headline first."""
        lines = [self.headline]
        if self.gap.n:
            lines.append(f"At batch size {self.largest}, {self.arm} {_lost(self.gap)} against its baseline.")
        if self.left_out:
            lines.append(f"{self.arm} has no complete seed at {_list(self.left_out)}: left out of the trend.")
        if self.diverged:
            lines.append(f"Diverged seeds are in none of these numbers: {', '.join(self.diverged)}.")
        return (*lines, *self.doubts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the numbers: cells that learned nothing, and in which seeds collapsed."""
        lines = []
        if self.unlearned:
            lines.append(f"Did not learn, no better than guessing: {', '.join(self.unlearned)}.")
            if any(each.split(" (")[0] == self.baseline for each in self.unlearned):
                lines.append(f"The baseline {self.baseline} is among them: what is won or lost against it says little.")
        return (*lines, *self.collapsed)

    @property
    def collapsed(self) -> tuple[str, ...]:
        """A sentence on the cells in which a seed collapsed; none where none did."""
        cells = sentences(self.collapses)
        if not cells:
            return ()
        return (f"Far below the cell's other seeds, so that its mean speaks of neither: {'; '.join(cells)}.",)


def verdict(trials: pd.DataFrame, baseline: str, order: Sequence[str]) -> Verdict:
    """The answer that the confirm trials of the cells in `order` give; `baseline` is one of them."""
    check_baseline(baseline, order)
    test = accuracies(trials, order)
    home = arm_of(baseline)
    mine = {batch_size_of(cell): cell for cell in order if arm_of(cell) == home}
    sizes = sorted(size for size in mine if test[mine[size]].notna().any())
    per_seed = slopes(test[[mine[size] for size in sizes]], sizes) if len(sizes) > 1 else np.array([])
    largest = max(mine)
    loss = paired(test[baseline], test[mine[largest]])
    gap = interval(loss, within=DIFFERENCE) if baseline != mine[largest] else Estimate(math.nan, math.nan, math.nan, 0)
    return Verdict(
        arm=home,
        batch_sizes=tuple(sizes),
        left_out=tuple(sorted(set(mine) - set(sizes))),
        slope=interval(per_seed),
        largest=largest,
        gap=gap,
        diverged=_diverged(trials, order),
        unlearned=tuple(f"{cell} ({lost} of {n})" for cell, (lost, n) in unlearned(trials, order).items()),
        baseline=baseline,
        collapses=tuple(collapse(cell, test[cell].dropna()) for cell in order),
    )


def _diverged(trials: pd.DataFrame, cells: Sequence[str]) -> tuple[str, ...]:
    tried = confirmed(trials)
    counts = [(cell, tried.loc[tried["cell"] == cell, "status"]) for cell in cells]
    lost = [(cell, int((status == "diverged").sum()), len(status)) for cell, status in counts]
    return tuple(f"{cell} ({diverged} of {tries})" for cell, diverged, tries in lost if diverged)


# Words


def points(fraction: float) -> str:
    """`-0.0123` → `"−1.23"`: percentage points with their sign."""
    return f"{100 * fraction:+.2f}".replace("-", "−")


def describe(estimate: Estimate) -> str:
    """`"+1.23 percentage points (95 % interval +0.80 to +1.66, 5 seeds)"`."""
    if estimate.n == 0:
        return "an unknown amount (no seed is complete in all of them)"
    if estimate.n < SEEDS:
        return f"{points(estimate.mean)} percentage points ({_seeds(estimate.n)}; an interval needs {SEEDS})"
    ends = f"{points(estimate.low)} to {points(estimate.high)}"
    return f"{points(estimate.mean)} percentage points (95 % interval {ends}, {_seeds(estimate.n)})"


def _lost(gap: Estimate) -> str:
    """A gap as what is lost, or won where accuracy rose: `loses 9.33 percentage points (95 % interval …)`."""
    verb, side = ("loses", gap) if not gap.mean < 0 else ("wins", Estimate(-gap.mean, -gap.high, -gap.low, gap.n))
    return f"{verb} {describe(side).removeprefix('+')}"


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"


def _list(sizes: Sequence[int]) -> str:
    return f"batch size{'s' if len(sizes) > 1 else ''} {', '.join(map(str, sizes))}"
