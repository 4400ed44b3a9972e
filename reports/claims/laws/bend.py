"""The corrected claim of figures 3, 4 and 7: their laws hold below the gradient's noise scale, and bend at it.

Erratum 2 of equations (3), (4), (6) and (8): with a mean gradient μ ≠ 0 a batch's mean |g| is the folded normal's, and
its mean g² is μ² + σ²/n. Both have the paper's power for n far below B = tr Σ/|G|², and a plateau far above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd

from reports.claims.laws import figure_3, strides
from reports.claims.shared import evidence
from reports.claims.shared.claim import (
    UNKNOWN,
    Claim,
    Judgement,
    Part,
    Status,
    above,
    all_of,
    single,
    within,
)
from reports.claims.shared.evidence import at_epoch, called, dense, drawable, ends, home, images, layers, sizes_of
from reports.claims.shared.evidence import seeds as counted
from reports.claims.shared.exponents import CLOSE, Forecast, Law
from reports.figures import against, seeds
from reports.figures.figure import Figure
from reports.numerics.laws import effective, exponents, fit_folded, fit_square, local_exponents
from reports.results import Results
from reports.tables.words import number, ranged
from study.intervals import Estimate, interval, simultaneous

FAR_BELOW = 10  # the law is to hold up to B/10, where the folded normal is 5 % above it and its slope is -0.45
NEAR = 0.5  # the bend must show at half of B, where the folded normal is 24 % above the law, and μ² + σ²/n 50 %


@dataclass(frozen=True)
class Measured:
    """One layer: what was measured, what both laws predict for it, and its noise scale B, in images."""

    forecast: Forecast
    noise_scale: float
    images: int

    @property
    def worth(self) -> dict[int, float]:
        """n′ of each batch size below the full set."""
        sizes = [size for size in sizes_of(self.forecast.measured) if size < self.images]
        return dict(zip(sizes, map(float, effective(sizes, self.images)), strict=True))

    def below(self) -> list[int]:
        """The batch sizes far below the noise scale."""
        return [size for size, worth in self.worth.items() if worth <= self.noise_scale / FAR_BELOW]

    def slope(self) -> Estimate:
        """Far below the noise scale; UNKNOWN where fewer than two batch sizes lie there."""
        sizes = self.below()
        if len(sizes) < 2:
            return UNKNOWN
        return interval(exponents(self.forecast.measured[sizes], [self.worth[size] for size in sizes]))

    def excess(self, power: float) -> Estimate:
        """By how many % the largest batch size lies above the power law through those far below the noise scale.

        UNKNOWN where none lies far below, or the largest does not come near the noise scale.
        """
        sizes, largest = self.below(), max(self.worth)
        if not sizes or self.worth[largest] < self.noise_scale * NEAR:
            return UNKNOWN
        at = np.array([self.worth[size] for size in sizes])
        logs = np.log(self.forecast.measured[[*sizes, largest]].dropna().to_numpy())
        level = (logs[:, :-1] - power * np.log(at)).mean(axis=1)
        return interval(logs[:, -1] - level - power * math.log(self.worth[largest])).through(_percent)

    def errors(self) -> dict[int, Estimate]:
        """By how many % the corrected law is off, mean over seeds, at each batch size held out of its fit."""
        sizes = list(self.forecast.held_out)
        ratios = (self.forecast.corrected[sizes] / self.forecast.measured[sizes]).dropna()
        with np.errstate(divide="ignore", invalid="ignore"):  # a fit without μ predicts 0 for the full set: -100 %
            each = simultaneous(list(np.log(ratios.to_numpy()).T))
        return {size: estimate.through(_percent) for size, estimate in zip(sizes, each, strict=True)}

    def worst(self) -> tuple[int, Estimate]:
        """The held-out batch size at which the corrected law errs most."""
        return max(self.errors().items(), key=lambda error: abs(error[1].mean))


def _percent(log: float) -> float:
    return 100 * math.expm1(log)


@dataclass(frozen=True)
class Bend:
    """One figure's quantity: how its layers are read, its law, and how far off the corrected one may be."""

    law: Law
    quantity: str  # `E|g| of the first fully connected layer at initialisation`
    corrected: str  # `the folded normal, predicted entry by entry,`
    allowed: float  # % error on held-out batch sizes
    main: Callable[[Results], str]
    known: Callable[[Results], list[str]]
    read: Callable[[Results, str], Measured]

    @property
    def confirms(self) -> str:
        low, high = map(number, self.law.band)
        return (
            f"The slope's interval up to B/{FAR_BELOW} lies within {low} … {high}, that of the excess lies above "
            f"{100 * CLOSE:.0f} %, and those of the corrected law's errors within ± {number(self.allowed)} %."
        )

    @property
    def refutes(self) -> str:
        return "The interval of one of the three lies wholly on the other side."

    def statuses(self, found: Measured) -> tuple[Status, Status, Status]:
        """Of the law below, of the bend, and of the corrected law."""
        return (
            within(found.slope(), *self.law.band),
            above(found.excess(self.law.power), 100 * CLOSE),
            all_of(within(error, -self.allowed, self.allowed) for error in found.errors().values()),
        )

    def parts(self, found: Measured, label: str, *, decides: bool) -> list[Part]:
        each = self.statuses(found) if decides else (None, None, None)
        worst, error = found.worst()
        return [
            Part(f"{label}: up to B/{FAR_BELOW}", found.slope(), "slope", each[0]),
            Part(f"{label}: above the law at n = {max(found.worth):,}", found.excess(self.law.power), "%", each[1]),
            Part(f"{label}: corrected law at n = {worst:,}", error, "% error, held out", each[2]),
            Part(f"{label}: B", single(found.noise_scale, len(found.forecast.measured)), "images"),
        ]

    def sentence(self, found: Measured, status: Status) -> str:
        law, slope, excess = self.law, found.slope(), found.excess(self.law.power)
        worst, error = found.worst()
        verdict = {
            "confirmed": f"goes as {law.text} far below the noise scale and bends at it",
            "refuted": f"does not go as {law.text} below the noise scale and bend at it as the corrected law has it",
            "undecided": f"is not decided to go as {law.text} below the noise scale and to bend at it",
        }[status]
        off = f"{self.corrected} is off by at most {ranged(error.mean, error.low, error.high, '%')}, at n = {worst:,}"
        return (
            f"{self.quantity} {verdict}, B = {number(found.noise_scale)} images: {_slope(slope)}, and "
            f"{_excess(excess, max(found.worth), law)}; of the batch sizes held out of its fit, {off}, over "
            f"{counted(error.n)}."
        )

    def decide(self, results: Results) -> Judgement:
        known, main = self.known(results), self.main(results)
        found = self.read(results, main)
        parts = self.parts(found, called(main, known), decides=True)
        for layer in ends(known):
            if layer != main:
                parts += self.parts(self.read(results, layer), called(layer, known), decides=False)
        status = all_of(self.statuses(found))
        return Judgement(status, found.worst()[1], "% error, held out", self.sentence(found, status), tuple(parts))

    def data(self, results: Results) -> pd.DataFrame:
        """Local slopes against n′/B, with the columns of `reports.figures.against`: a line a layer, one for a law."""
        known, main = self.known(results), self.main(results)
        first = self.read(results, main)
        tables = [_local("corrected law", first.forecast.corrected, first)]
        for layer in dict.fromkeys([main, *ends(known)]):
            found = self.read(results, layer)
            tables.append(_local(called(layer, known), found.forecast.measured, found))
        return pd.concat(tables, ignore_index=True)


def _slope(slope: Estimate) -> str:
    if not slope.n:
        return f"fewer than two batch sizes lie up to B/{FAR_BELOW}"
    return f"up to B/{FAR_BELOW} its slope is {ranged(slope.mean, slope.low, slope.high)}"


def _excess(excess: Estimate, largest: int, law: Law) -> str:
    if not excess.n:
        return "no batch size shows how far it bends"
    return f"at n = {largest:,} it lies {ranged(excess.mean, excess.low, excess.high, '%')} above {law.text} from there"


def _local(line: str, values: pd.DataFrame, found: Measured) -> pd.DataFrame:
    """The slope between each batch size and the next, at the middle of the two in units of B."""
    sizes = list(found.worth)
    at = [found.worth[size] for size in sizes]
    middles = [math.sqrt(a * b) / found.noise_scale for a, b in pairwise(at)]
    slopes = local_exponents(values[sizes], at)
    means = [
        (line, x, each.mean, each.low, each.high, each.n)
        for x, each in zip(middles, map(interval, slopes), strict=True)
    ]
    table = pd.DataFrame(means, columns=against.COLUMNS[:-1])
    return seeds.below(table, [])


# Figure 3: B and the folded normal come from the pass over the training set


def _known_layers(key: str, results: Results) -> list[str]:
    return layers(results, key)


def _step(results: Results, layer: str) -> Measured:
    noise_scale = evidence.noise_scale(results, figure_3.PREFIX, layer).mean
    return Measured(figure_3.forecast(results, layer), noise_scale, images(results))


# Figures 4 and 7: μ and σ are fitted, one of each, on every second batch size; B = σ²/μ²


@dataclass(frozen=True)
class Epoch:
    """A mean over the first epoch: `fit` gives μ² and σ² of n′ and what was measured there."""

    key: str
    law: Law
    curve: strides.Curve
    fit: Callable[[np.ndarray, np.ndarray], tuple[float, float]]

    def main(self, results: Results) -> str:
        return evidence.main(layers(results, self.key))

    def read(self, results: Results, layer: str) -> Measured:
        values, total = at_epoch(results, f"{self.key}{layer}", home(results)).dropna(), images(results)
        forecast = strides.forecast(values, self.law, self.curve, total)
        fitted = sizes_of(values)[::2]
        fits = [self.fit(effective(fitted, total), row[fitted].to_numpy()) for _, row in values.iterrows()]
        scales = [noise / mean if mean > 0 else math.inf for mean, noise in fits]
        return Measured(forecast, float(np.exp(np.mean(np.log(scales)))), total)

    def claim(self, figure: str, title: str, quantity: str, corrected: str, allowed: float) -> Claim:
        bend = Bend(self.law, quantity, corrected, allowed, self.main, partial(_known_layers, self.key), self.read)
        return _claim(
            figure, title, bend, "B = σ²/μ² of the corrected law, fitted on every second batch size.",
            "One μ and one σ for all weights and a whole epoch, so B is this fit's, not a measured tr Σ/|G|².",
        )  # fmt: skip


def _fit_folded(worth: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    mu, sigma = fit_folded(worth, values)
    return mu**2, sigma**2


def _claim(figure: str, title: str, bend: Bend, scale: str, note: str) -> Claim:
    name = f"{figure}-bend"
    return Claim(
        name=name,
        title=title,
        says=f"Corrected (erratum 2): {bend.quantity} goes as {bend.law.text} for n far below the gradient's noise "
        "scale B = tr Σ/|G|², and levels off from B on, where the mean gradient is all that is left.",
        statistic=f"Per seed the least-squares slope of log(quantity) against log n′ over the batch sizes up to "
        f"B/{FAR_BELOW}; the excess, by how much the largest batch size below the full set (if it is at least B/2) "
        "lies above the paper's law through those; and the corrected law's relative error at each batch size held "
        f"out of its fit. {scale} 95 % intervals over seeds (Student's t), those of the errors all together "
        "(Bonferroni).",
        confirms=bend.confirms,
        refutes=bend.refutes,
        decide=bend.decide,
        figure=Figure(
            name,
            "Local slopes against n/B",
            lambda _: (
                "The slope between each batch size and the next, against their middle in units of the layer's own "
                "noise scale B; mean over seeds with 95 % intervals, beside what the corrected law predicts for the "
                "first layer. "
                f"Dashed: {number(bend.law.power)}, the paper's law."
            ),
            drawable(bend.data),
            lambda table, _: against.chart(table, "n/B", "local slope", ratios=True, rule=bend.law.power),
            "Nothing was measured at four batch sizes yet.",
        ),
        note=note,
    )


_STEP_LAYERS = partial(_known_layers, f"{figure_3.PREFIX}measured/")
FIGURE_3 = _claim(
    "figure-3",
    "Below the noise scale the mean gradient shrinks as 1/√n, at it the law bends",
    Bend(
        figure_3.LAW, "E|g| of the first fully connected layer at initialisation",
        "the folded normal, predicted entry by entry,", 5.0,
        lambda results: dense(_STEP_LAYERS(results), 1), _STEP_LAYERS, _step,
    ),
    "B is the layer's own, measured in the same pass.",
    "Every entry's μ and σ come from other images than those that are measured.",
)  # fmt: skip
FIGURE_4 = Epoch(*strides.PARAMETER, strides.folded_curve, _fit_folded).claim(
    "figure-4",
    "Below the noise scale the parameter stride shrinks as 1/√n, at it the law bends",
    "The normalised parameter stride of the first epoch, E|Δw|/lr,",
    "the folded normal",
    5.0,
)
FIGURE_7 = Epoch(*strides.LOSS, strides.square_curve, fit_square).claim(
    "figure-7",
    "Below the noise scale the loss stride shrinks as 1/n, at it the law bends",
    "The normalised loss stride of the first epoch, mean g²,",
    "μ² + σ²/n",
    10.0,
)
