"""One curve for every layer, start, width and net: E|g|/|μ| = √(1 + B/n).

If a layer's entries of the mean gradient are themselves spread as N(0, m²), then a batch's are as N(0, m² + σ²/n), so
that E|g| = √(2/π)·√(m² + σ²/n) and |μ| = √(2/π)·m: their ratio is √(1 + B/n) with B = σ²/m², the layer's own noise
scale tr Σ/|G|² (McCandlish 2018). The paper's 1/√n is its end for n ≪ B.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from reports.claims.laws.figure_3 import PREFIX, by_size
from reports.claims.shared.claim import Claim, Judgement, Missing, Part, within
from reports.claims.shared.evidence import called, drawable, home, images, last, layers, seeds, sizes_of
from reports.figures import collapse as shape
from reports.figures.figure import Figure
from reports.numerics.laws import effective
from reports.results import Results
from reports.tables.words import number, ranged
from study.intervals import Estimate, interval

ALLOWED = 25.0  # %, at every layer and batch size
CLOSE = 10.0  # %


def weights(results: Results) -> list[str]:
    """The layers that were measured; `all` is a mixture of noise scales, of which none is its own."""
    return [layer for layer in layers(results, f"{PREFIX}mu/") if layer != "all"]


def curve(ratio: float) -> float:
    """E|g|/|μ| at this n′/B."""
    return math.sqrt(1 + 1 / ratio)


def by_layer(results: Results) -> Iterator[tuple[str, int, pd.DataFrame]]:
    """(layer, n, a row a seed with n′/B and E|g|/|μ|) for every batch size below the full set."""
    total, arm = images(results), home(results)
    for layer in weights(results):
        measured = by_size(results, "measured", layer)
        mu, scale = (last(results, f"{PREFIX}{kind}/{layer}", arm).iloc[:, 0] for kind in ("mu", "noise_scale"))
        for size in sizes_of(measured):
            if size < total:
                worth = float(effective([size], total)[0])
                rows = pd.DataFrame({"ratio": worth / scale, "height": measured[size] / mu}).dropna()
                yield layer, size, rows[(rows > 0).all(axis="columns")]


def deviations(results: Results) -> dict[tuple[str, int], Estimate]:
    """By how many % each layer lies off the curve at each batch size, mean over seeds."""
    found = {}
    for layer, size, rows in by_layer(results):
        logs = np.log(rows["height"]) - rows["ratio"].map(lambda ratio: math.log(curve(ratio)))
        if len(logs):
            found[layer, size] = interval(logs).through(lambda log: 100 * math.expm1(log))
    if not found:
        raise Missing("no seed has its mean gradient, its noise scale and E|g| at one batch size")
    return found


def decide(results: Results) -> Judgement:
    found, known = deviations(results), weights(results)
    (layer, size), worst = max(found.items(), key=lambda item: abs(item[1].mean))
    status = within(worst, -ALLOWED, ALLOWED)
    close = sum(abs(each.mean) <= CLOSE for each in found.values()) / len(found)
    verb = {"confirmed": "falls on", "refuted": "leaves", "undecided": "may leave"}[status]
    sentence = (
        f"E|g|/|μ| against n/B {verb} the one curve √(1 + B/n) in {len(known)} layers: it is off by at most "
        f"{ranged(worst.mean, worst.low, worst.high, '%')}, in {called(layer, known)} at n = {size:,}, and by at most "
        f"{number(CLOSE)} % in {100 * close:.0f} % of {len(found)} points, over {seeds(worst.n)}."
    )
    parts = []
    for each in known:
        at, off = max(((n, e) for (name, n), e in found.items() if name == each), key=lambda item: abs(item[1].mean))
        parts.append(Part(f"{called(each, known)}: largest, at n = {at:,}", off, "% off the curve"))
    return Judgement(status, worst, "% off the curve", sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.collapse`: a row a reading, layer and batch size."""
    there = [results, *(results.reading(name) for name in results.readings)]
    rows: list[tuple[object, ...]] = []
    for each in there:
        if not len(each.confirmed):
            continue
        known = weights(each)
        rows += [
            (each.reading_name or shape.RECORD, called(layer, known), size, *_middle(table), curve(_middle(table)[0]))
            for layer, size, table in by_layer(each)
            if len(table)
        ]
    return pd.DataFrame(rows, columns=shape.COLUMNS)


def _middle(table: pd.DataFrame) -> tuple[float, float]:
    """Geometric means over seeds of n′/B and E|g|/|μ|."""
    ratio, height = np.exp(np.log(table[["ratio", "height"]]).mean())
    return float(ratio), float(height)


CLAIM = Claim(
    name="collapse",
    title="One curve for all layers: E|g|/|μ| = √(1 + B/n)",
    says="Ours, after McCandlish et al. 2018: in units of its own mean gradient |μ| and its own noise scale "
    "B = tr Σ/|G|², every layer's E|g| at the first step is the same function √(1 + B/n) of the batch size, whatever "
    "the start, the width and the net; the paper's 1/√n is its end for n far below B.",
    statistic="E|g|/|μ| of each layer and batch size below the full set, against √(1 + B/n′); nothing is fitted. 95 % "
    "intervals over seeds (Student's t).",
    confirms=f"The largest deviation's interval lies within ± {number(ALLOWED)} %.",
    refutes=f"The largest deviation's interval lies wholly outside ± {number(ALLOWED)} %.",
    decide=decide,
    figure=Figure(
        "collapse",
        "E|g|/|μ| against n/B",
        lambda _: (
            "Every layer at every batch size and in every reading, mean over seeds, in units of its own mean gradient "
            "|μ| and its own noise scale B. Line: √(1 + B/n); nothing is fitted. Dashed: its two ends, √(B/n), the "
            "paper's law, and 1."
        ),
        data,
        lambda table, _: shape.chart(table),
        "No trial was measured by the probe gradient_law.",
    ),
    note="The curve is exact where a layer's noise is alike in all entries and its mean gradient is spread as a "
    "normal; few large entries of μ or of σ bend it. The mean over all weights mixes noise scales and has no B of its "
    "own. Under batch norm the gradient is that of one micro-batch.",
)
