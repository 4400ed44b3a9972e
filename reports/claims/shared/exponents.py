"""The shape of the claims that a quantity goes as a power of the batch size (figures 3, 4 and 7, and (28)).

The slope is taken against n′ = n(N - 1)/(N - n), what n images drawn without replacement are worth: for n ≪ N it is n,
and without it the last octaves before the full set would fall steeper for no reason but how batches are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.claims.shared.claim import Judgement, Missing, Part, Status, within
from reports.claims.shared.evidence import seeds, sizes_of
from reports.figures import laws
from reports.figures.seeds import below
from reports.numerics.laws import effective, exponents, fit_power, local_exponents, relative_error
from reports.tables.words import number, ranged
from study.intervals import POSITIVE, Estimate, interval, simultaneous

CLOSE = 0.1  # relative error to which a law counts as right
AGAINST = (
    "Per seed the least-squares slope of log(quantity) against log n′ over all batch sizes, and between each size "
    "and the next; n′ = n(N−1)/(N−n) corrects for batches drawn without replacement and is n for n ≪ N. 95 % "
    "intervals over seeds (Student's t), those of the local slopes all together (Bonferroni). The full set, where "
    "nothing is drawn, is left out."
)


@dataclass(frozen=True)
class Law:
    """∝ n^power, as stated beforehand to hold within ± tolerance."""

    power: float
    tolerance: float

    @property
    def band(self) -> tuple[float, float]:
        return self.power - self.tolerance, self.power + self.tolerance

    @property
    def text(self) -> str:
        return {-0.5: "1/√n", -1.0: "1/n"}[self.power]

    @property
    def confirms(self) -> str:
        low, high = map(number, self.band)
        return (
            f"The interval of the slope lies within {low} … {high}, and no local slope's interval lies wholly outside."
        )

    @property
    def refutes(self) -> str:
        low, high = map(number, self.band)
        return (
            f"The interval of the slope, or that of a local slope, lies wholly outside {low} … {high}: a power law "
            "has the same slope everywhere."
        )


@dataclass(frozen=True)
class Slopes:
    """The slope over all batch sizes and the local ones, for one layer, and how far the law reaches."""

    status: Status
    whole: Estimate
    local: tuple[Part, ...]
    reach: int | None  # the largest batch size up to which the law is right to CLOSE; None where not even to the second
    largest: int  # batch size below the full set

    def part(self, label: str) -> Part:
        return Part(label, self.whole, "slope", self.status)

    def bend(self) -> str:
        """Where the local slopes lead, for a sentence."""
        known = [part for part in self.local if not math.isnan(part.effect.mean)]
        if len(known) < 2:
            return "there are too few batch sizes to see whether it bends"
        first, last = known[0], known[-1]
        ends = (f"{number(round(part.effect.mean, 2) + 0.0)} ({part.label})" for part in (first, last))
        return f"locally it goes from {' to '.join(ends)}"

    def reach_sentence(self, law: Law) -> str:
        """` Drawn through the smallest batch size, 1/√n is right to 10 % up to n = 512.`"""
        if self.reach is None:
            where = "nowhere beyond it"
        else:
            where = "throughout" if self.reach == self.largest else f"up to n = {self.reach:,}"
        return f" Drawn through the smallest batch size, {law.text} is right to {100 * CLOSE:.0f} % {where}."


def reach(values: pd.DataFrame, at: Sequence[float], power: float) -> int | None:
    """Up to which size, a column of `values` (seeds × sizes), C·at^power through the first is right to CLOSE.

    Measured is the geometric mean over the seeds that have every size; a size that is right again after one that is
    wrong does not count. None where the second size is wrong already, or no seed is whole.
    """
    logs = values.where(values > 0).map(np.log).dropna().mean().to_numpy()
    law = logs[0] + power * np.log(np.asarray(at) / at[0])
    wrong = ~(np.abs(np.expm1(law - logs)) <= CLOSE)
    right = int(wrong.argmax()) if wrong.any() else len(wrong)
    return sizes_of(values)[right - 1] if right > 1 else None


def slopes(values: pd.DataFrame, images: int, law: Law) -> Slopes:
    """`values`: seeds × batch sizes, the full set among them or not. Raises Missing below two sizes."""
    drawn = values[[size for size in sizes_of(values) if size < images]]
    if drawn.shape[1] < 2:
        raise Missing("a slope needs two batch sizes below the full set")
    at = list(effective(list(drawn.columns), images))
    whole = interval(exponents(drawn, at))
    local = simultaneous(local_exponents(drawn, at))
    pairs = zip(drawn.columns, drawn.columns[1:], local, strict=False)
    parts = tuple(Part(f"{a} → {b}", slope, "local slope", within(slope, *law.band)) for a, b, slope in pairs)
    status = _status(within(whole, *law.band), [part.status for part in parts])
    return Slopes(status, whole, parts, reach(drawn, at, law.power), sizes_of(drawn)[-1])


def _status(whole: Status, local: Sequence[Status | None]) -> Status:
    return "refuted" if "refuted" in local else whole


def judged(measured: Slopes, law: Law, quantity: str, parts: Sequence[Part], more: str = "") -> Judgement:
    """The verdict, in a sentence about `quantity`."""
    ends = {
        "confirmed": f"as {law.text} has it",
        "refuted": f"not to {number(law.power)} throughout, as {law.text} has it",
        "undecided": f"which does not decide whether it goes as {law.text}, {number(law.power)}",
    }[measured.status]
    power = ranged(measured.whole.mean, measured.whole.low, measured.whole.high)
    sentence = f"{quantity} goes as n to the power {power} over {seeds(measured.whole.n)}, {ends}; {measured.bend()}."
    sentence += measured.reach_sentence(law) + more
    return Judgement(measured.status, measured.whole, "slope", sentence, (*measured.local, *parts))


# Two laws on batch sizes that neither was fitted to


@dataclass(frozen=True)
class Forecast:
    """The paper's law and the corrected one, seeds × batch sizes each, beside what was measured there."""

    measured: pd.DataFrame
    paper: pd.DataFrame
    corrected: pd.DataFrame
    held_out: tuple[int, ...]

    def errors(self) -> tuple[Estimate, Estimate]:
        """Root mean square relative error in % of the paper's and the corrected law, on the held-out sizes."""
        sizes = list(self.held_out)
        both = []
        for law in (self.paper, self.corrected):
            rows = [
                100 * relative_error(law.loc[seed, sizes], self.measured.loc[seed, sizes])
                for seed in self.measured.dropna(subset=sizes).index
            ]
            both.append(interval(rows, within=POSITIVE))
        return both[0], both[1]

    def parts(self, label: str, names: tuple[str, str]) -> tuple[Part, Part]:
        paper, corrected = self.errors()
        unit = "% error, held out"
        return Part(f"{label}: {names[0]}", paper, unit), Part(f"{label}: {names[1]}", corrected, unit)

    def rows(self, layer: str, names: tuple[str, str], noise_scale: float = math.nan) -> pd.DataFrame:
        """With the columns of `reports.figures.laws`."""
        laws_ = {laws.MEASURED: self.measured, names[0]: self.paper, names[1]: self.corrected}
        means = [
            (layer, law, size, *_ends(table[size], law), size in self.held_out, noise_scale)
            for law, table in laws_.items()
            for size in sizes_of(table)
        ]
        values = [
            {"layer": layer, "law": laws.MEASURED, "batch_size": size, "mean": value, "seed": seed,
             "held_out": size in self.held_out}
            for size in sizes_of(self.measured)
            for seed, value in self.measured[size].dropna().items()
        ]  # fmt: skip
        return below(pd.DataFrame(means, columns=laws.COLUMNS[:-1]), values)


def _ends(column: pd.Series, law: str) -> tuple[float, float, float]:
    """Geometric mean and interval over seeds, as the axes and the slopes are logarithmic; laws have no intervals."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a law may predict 0 for the full set
        estimate = interval(np.log(column.dropna())).through(math.exp)
    if law != laws.MEASURED:
        return estimate.mean, math.nan, math.nan
    return estimate.mean, estimate.low, estimate.high


def power_through(values: pd.DataFrame, power: float, fitted: Sequence[int]) -> pd.DataFrame:
    """C·n^power for all sizes, C of each seed from the `fitted` ones."""
    sizes = np.asarray(list(values.columns), dtype=float)
    rows = [fit_power(list(fitted), row[list(fitted)], power) * sizes**power for _, row in values.iterrows()]
    return pd.DataFrame(rows, index=values.index, columns=values.columns)
