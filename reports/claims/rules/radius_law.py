"""Beyond the paper: at the start of training, each layer-wise rule's radius R against the batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.claims.shared.claim import UNKNOWN, Claim, Judgement, Missing, Part, Status, all_of, within
from reports.claims.shared.evidence import at_sizes, called, dense, drawable, layers, noise_scale, seeds, sizes_of
from reports.claims.shared.exponents import Forecast, power_through
from reports.figures import laws
from reports.figures.figure import Figure
from reports.numerics.laws import effective, local_exponents
from reports.results import Results
from reports.tables.words import number, ranged
from study.intervals import Estimate, simultaneous

PREFIX = "probe/radius_law/"
# Up to B/10 and from 5 B on, where √(1 + n/B) and √(1 + B/n) bend a slope by less than 0.1
FAR_BELOW, FAR_ABOVE = 10, 5
TOLERANCE = 0.1
RISE, FLAT = 0.5, 0.0
NAMES = ("square root: √n", "predicted: the gradient's law, entry by entry")


@dataclass(frozen=True)
class Regions:
    """A rule's local slopes far below and far above the noise scale of each layer: means over layers, one a seed."""

    below: list[float]
    above: list[float]


def rules(results: Results) -> list[str]:
    """Those that the probe measured, in the order of its keys."""
    return layers(results, f"{PREFIX}measured/")


def by_size(results: Results, kind: str, rule: str, layer: str) -> pd.DataFrame:
    """R by `kind`, measured or predicted: seeds × batch sizes."""
    return at_sizes(results, f"{PREFIX}{kind}/{rule}/{layer}/")


def regions(results: Results, rule: str) -> Regions:
    """Every layer's slopes between each batch size and the next that lie in one of the two regions."""
    below: list[np.ndarray] = []
    above: list[np.ndarray] = []
    for layer in layers(results, f"{PREFIX}measured/{rule}/"):
        table, scale = by_size(results, "measured", rule, layer), noise_scale(results, PREFIX, layer).mean
        total = max(sizes_of(table))
        drawn = table[[size for size in sizes_of(table) if size < total]]
        worth = list(map(float, effective(sizes_of(drawn), total)))
        pairs = zip(worth, worth[1:], local_exponents(drawn, worth), strict=False)
        for low, high, slopes in pairs:
            if high <= scale / FAR_BELOW:
                below.append(slopes)
            if low >= scale * FAR_ABOVE:
                above.append(slopes)
    return Regions(_means(below), _means(above))


def _means(slopes: Sequence[np.ndarray]) -> list[float]:
    return list(map(float, np.mean(slopes, axis=0))) if slopes else []


def forecast(results: Results, rule: str, layer: str) -> Forecast:
    """√n through the smallest batch size, and the prediction from the other half of the pass; both beside R."""
    measured, predicted = by_size(results, "measured", rule, layer), by_size(results, "predicted", rule, layer)
    sizes = [size for size in sizes_of(measured) if size in predicted]
    common = measured.index.intersection(predicted.index)
    if len(sizes) < 2 or common.empty:
        raise Missing("no seed has both the measured and the predicted radius at two batch sizes")
    known = measured.loc[common, sizes]
    return Forecast(known, power_through(known, RISE, sizes[:1]), predicted.loc[common, sizes], tuple(sizes[1:]))


def decide(results: Results) -> Judgement:
    names = rules(results)
    found = {rule: regions(results, rule) for rule in names}
    samples = [sample for each in found.values() for sample in (each.below, each.above)]
    together = iter(simultaneous(samples))
    slopes = {rule: (next(together), next(together)) for rule in names}
    if not any(estimate.n for pair in slopes.values() for estimate in pair):
        raise Missing("no two batch sizes lie far below, or far above, the noise scale of a layer")
    statuses = {
        rule: (within(low, RISE - TOLERANCE, RISE + TOLERANCE), within(high, FLAT - TOLERANCE, FLAT + TOLERANCE))
        for rule, (low, high) in slopes.items()
    }
    status = all_of(each for pair in statuses.values() for each in pair)
    first = dense(layers(results, f"{PREFIX}measured/{names[0]}/"), 1)
    errors = {rule: forecast(results, rule, first).errors() for rule in names}
    listed = "; ".join(
        f"{rule} {_slope(low)} far below the noise scale, {_slope(high)} far above it, predicted to "
        f"{number(errors[rule][1].mean)} %"
        for rule, (low, high) in slopes.items()
    )
    verb = {"confirmed": "rises as √n and then stays", "refuted": "does not rise as √n and then stay",
            "undecided": "is not decided to rise as √n and then to stay"}[status]  # fmt: skip
    farthest = max((pair[0] for pair in slopes.values()), key=lambda each: abs(each.mean - RISE))
    effect = farthest if farthest.n else max((pair[1] for pair in slopes.values()), key=lambda each: abs(each.mean))
    sentence = f"At the start R {verb} in every rule, with slopes against n of: {listed}; over {seeds(effect.n)}."
    return Judgement(status, effect, "slope", sentence, tuple(_parts(results, slopes, statuses, errors)))


def _slope(estimate: Estimate) -> str:
    return ranged(estimate.mean, estimate.low, estimate.high) if estimate.n else "(no batch size lies there)"


def _parts(
    results: Results,
    slopes: dict[str, tuple[Estimate, Estimate]],
    statuses: dict[str, tuple[Status, Status]],
    errors: dict[str, tuple[Estimate, Estimate]],
) -> list[Part]:
    parts: list[Part] = []
    for rule, (low, high) in slopes.items():
        parts += [
            Part(f"{rule}: up to B/{FAR_BELOW}", low if low.n else UNKNOWN, "slope", statuses[rule][0]),
            Part(f"{rule}: from {FAR_ABOVE} B on", high if high.n else UNKNOWN, "slope", statuses[rule][1]),
            Part(f"{rule}: √n", errors[rule][0], "% error, held out"),
            Part(f"{rule}: prediction", errors[rule][1], "% error, held out"),
        ]
    names = layers(results, f"{PREFIX}measured/{next(iter(slopes))}/")
    return parts + [
        Part(f"noise scale of {called(layer, names)}", noise_scale(results, PREFIX, layer), "images") for layer in names
    ]


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.laws`: a panel a rule, of the first fully connected layer."""
    tables = []
    for rule in rules(results):
        first = dense(layers(results, f"{PREFIX}measured/{rule}/"), 1)
        tables.append(forecast(results, rule, first).rows(rule, NAMES, noise_scale(results, PREFIX, first).mean))
    return pd.concat(tables)


CLAIM = Claim(
    name="radius-law",
    title="A layer-wise rule raises its own rate as √n, up to the noise scale",
    says="Beyond the paper: in (20) to (24) the radius R divides by the gradient, which shrinks as 1/√n for n far "
    "below its noise scale B = tr Σ/|G|² and levels off above it. So R of LARS, PercentDelta and MCLR rises as √n far "
    "below B, and stays far above it.",
    statistic="R of each rule at initialisation, in every weight tensor: per seed the slope of log R against log n′, "
    "n′ = n(N−1)/(N−n), between each batch size and the next; its mean over the tensors and pairs of batch sizes up to "
    f"B/{FAR_BELOW}, and over those from {FAR_ABOVE} B on, B being the tensor's own. 95 % intervals over seeds "
    "(Student's t), all together (Bonferroni).",
    confirms=f"In every rule the first lies within {RISE} ± {TOLERANCE}, the second within {FLAT:g} ± {TOLERANCE}.",
    refutes="In some rule one of them lies wholly outside.",
    decide=decide,
    figure=Figure(
        "radius-law",
        "R against batch size",
        lambda _: (
            "Radius R at initialisation of the first fully connected layer, in each rule; geometric mean over seeds "
            "with 95 % intervals. Dashed: √n through the smallest batch size. Line: R of the gradient that the mean "
            "and the spread of every entry, measured on other images, lead to expect. Hollow: fitted on; filled: held "
            "out of every fit. Dotted: the gradient noise scale B."
        ),
        drawable(data),
        lambda table, _: laws.chart(table, "R  (weight² / loss)"),
        "No trial was measured by the probe radius_law.",
    ),
    note="R is measured by the rules themselves, without their caps, and without decay. The prediction uses no other "
    "assumption than that an entry's gradient is normal.",
)
