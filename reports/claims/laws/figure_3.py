"""Figure 3: E|g| at the first step against batch size."""

from __future__ import annotations

import math

import pandas as pd

from reports.claims.shared import evidence
from reports.claims.shared.claim import Claim, Judgement, Missing, Part
from reports.claims.shared.evidence import at_sizes, called, dense, drawable, ends, layers, sizes_of
from reports.claims.shared.exponents import AGAINST, Forecast, Law, judged, power_through, slopes
from reports.figures import laws
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import number

PREFIX = "probe/gradient_law/"
LAW = Law(-0.5, 0.05)
NAMES = ("paper: 1/√n", "corrected: folded normal, entry by entry")


def by_size(results: Results, kind: str, layer: str) -> pd.DataFrame:
    """One of the probe's quantities for a layer: seeds × batch sizes, from one pass over the training set."""
    return at_sizes(results, f"{PREFIX}{kind}/{layer}/")


def forecast(results: Results, layer: str) -> Forecast:
    """Both laws from what the smallest batch size shows; every larger one is held out."""
    measured, folded = by_size(results, "measured", layer), by_size(results, "folded", layer)
    measured = measured.reindex(folded.index.intersection(measured.index))
    sizes = [size for size in sizes_of(measured) if size in folded]
    if measured.empty or len(sizes) < 2:
        raise Missing("no seed has both the measured gradient and the prediction at two batch sizes")
    paper = power_through(measured[sizes], LAW.power, sizes[:1])
    return Forecast(measured[sizes], paper, folded.loc[measured.index, sizes], tuple(sizes[1:]))


def noise_scale(results: Results, layer: str) -> float:
    """tr Σ / |G|² of the layer, mean over seeds; NaN where it was not measured."""
    try:
        return evidence.noise_scale(results, PREFIX, layer).mean
    except Missing:
        return math.nan


def decide(results: Results) -> Judgement:
    names = layers(results, f"{PREFIX}measured/")
    first = dense(names, 1)
    parts: list[Part] = []
    for layer in [first, *(name for name in ends(names) if name != first)]:
        label = called(layer, names)
        values = by_size(results, "measured", layer)
        if layer != first:
            parts.append(slopes(values, max(sizes_of(values)), LAW).part(label))
        parts += forecast(results, layer).parts(label, NAMES)
    values = by_size(results, "measured", first)
    paper, corrected = forecast(results, first).errors()
    more = (
        f" On batch sizes that neither law was fitted to, 1/√n is off by {number(paper.mean)} % and the folded "
        f"normal, predicted entry by entry, by {number(corrected.mean)} % (root mean square)."
    )
    return judged(
        slopes(values, max(sizes_of(values)), LAW), LAW, "E|g| of the first fully connected layer", parts, more
    )


@drawable
def data(results: Results) -> pd.DataFrame:
    names = layers(results, f"{PREFIX}measured/")
    parts = [
        forecast(results, layer).rows(called(layer, names), NAMES, noise_scale(results, layer)) for layer in ends(names)
    ]
    return pd.concat(parts)


CLAIM = Claim(
    name="figure-3",
    title="The mean gradient shrinks as 1/√n",
    says="The mean absolute gradient E|g| of the first fully connected layer at the first step is ∝ 1/√n (equation "
    "4, figure 3), from batch size 32 to 60,000.",
    statistic=f"E|g| of the first fully connected layer at initialisation. {AGAINST}",
    confirms=LAW.confirms,
    refutes=LAW.refutes,
    decide=decide,
    figure=Figure(
        "figure-3",
        "E|g| against batch size",
        lambda _: (
            "Mean absolute gradient at initialisation, geometric mean over seeds with 95 % intervals. Dashed: 1/√n "
            "through "
            "the smallest batch size. Line: the folded normal of each entry's own mean and spread, measured on "
            "other images at the smallest batch size, with the finite-population factor. Hollow: fitted on; filled: "
            "held out of every fit. Dotted: the gradient noise scale B = tr Σ/|G|² (McCandlish 2018)."
        ),
        data,
        lambda table, _: laws.chart(table, "E|g|  (loss / weight)"),
        "No trial was measured by the probe gradient_law.",
    ),
    note="The exact law for a mean gradient μ ≠ 0 is the folded normal (erratum 2): −1/2 far below the noise scale, a "
    "plateau |μ| far above it. The largest size here is the full training set: 60,000 would be training and test "
    "images.",
)
