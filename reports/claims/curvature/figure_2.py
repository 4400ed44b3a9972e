"""Figure 2: the radius of curvature, layer by layer."""

from __future__ import annotations

import math

import altair as alt
import numpy as np
import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above
from reports.claims.shared.evidence import at_epoch, by_others, drawable, home, layers, seeds
from reports.figures import look
from reports.figures import seeds as seeds_
from reports.figures.curvature_estimates import ESTIMATES
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import interval

PREFIX = "probe/curvature_radius/"
ESTIMATE = "gnb"
FACTOR = 3.0  # between layers, from which they differ strongly


def radii(results: Results, arm: str, epoch: int = 1, estimate: str = ESTIMATE) -> pd.DataFrame:
    """Natural logarithm of each layer's median radius at an epoch's first step: seeds × layers, smallest batch size."""
    names = [name for name in layers(results, f"{PREFIX}{estimate}/") if name != "all"]
    size = min(results.batch_sizes)
    medians = {}
    for name in names:
        table = at_epoch(results, f"{PREFIX}{estimate}/{name}", arm, epoch)
        medians[name] = table[size] if size in table else table.iloc[:, 0]
    positive = pd.DataFrame(medians)
    return positive.where(positive > 0).map(np.log)


def decide(results: Results) -> Judgement:
    table = radii(results, home(results)).dropna()
    if table.shape[1] < 2 or table.empty:
        raise Missing("no seed has the radius of two layers")
    spans = by_others(
        table, lambda mean: (mean.idxmax(), mean.idxmin()), lambda row, ends: float(row[ends[0]] - row[ends[1]])
    )
    effect = interval(spans).through(math.exp)
    status = above(effect, FACTOR)
    widest, narrowest = table.mean().idxmax(), table.mean().idxmin()
    verb = {"confirmed": "differs strongly across layers", "refuted": "differs little across layers",
            "undecided": f"may or may not differ by a factor of {FACTOR:g} across layers"}[status]  # fmt: skip
    ratio = ranged(effect.mean, effect.low, effect.high)
    sentence = (
        f"The median radius of curvature {verb} at initialisation: that of {widest} is {ratio} times that of "
        f"{narrowest}, over {seeds(effect.n)}."
    )
    parts = tuple(Part(str(name), interval(table[name]).through(math.exp), "weight² / loss") for name in table)
    return Judgement(status, effect, "times", sentence, parts)


@drawable
def data(results: Results) -> pd.DataFrame:
    """A row an estimate and layer: the geometric mean of the median radius, with its interval; below them the seeds."""
    rows, values = [], []
    for estimate, name in ESTIMATES.items():
        try:
            table = radii(results, home(results), estimate=estimate)
        except Missing:
            continue
        for layer in table:
            known, short = table[layer].dropna(), str(layer).removesuffix(".weight")
            each = interval(known).through(math.exp)
            if not math.isnan(each.mean):
                rows.append((name, short, each.mean, each.low, each.high, each.n))
            values += [
                {"estimate": name, "layer": short, "mean": math.exp(log), "seed": seed} for seed, log in known.items()
            ]
    return seeds_.below(pd.DataFrame(rows, columns=["estimate", "layer", "mean", "low", "high", "seeds"]), values)


def _chart(table: pd.DataFrame, _: Results) -> alt.LayerChart:
    names = list(dict.fromkeys(table["estimate"]))
    base = alt.Chart(table).encode(
        x=alt.X("layer:N", sort=list(dict.fromkeys(table["layer"])), title=None, axis=alt.Axis(labelAngle=-35)),
        xOffset=alt.XOffset("estimate:N", sort=names),
        color=alt.Color("estimate:N", scale=alt.Scale(domain=names, range=look.COLOURS[: len(names)])),
    )
    title = "median radius  (weight² / loss)"
    scale = alt.Scale(type="log", nice=False, padding=14)
    y = alt.Y("mean:Q", title=title, scale=scale, axis=look.LOG_AXIS)
    tooltip = ["estimate:N", "layer:N", *(alt.Tooltip(f"{each}:Q", format=".3~g") for each in ("mean", "low", "high"))]
    bar = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(y=alt.Y("low:Q", title=title, scale=scale, axis=look.LOG_AXIS), y2="high:Q")
    )
    mark = (
        base.transform_filter(seeds_.MEANS)
        .mark_point(filled=True, size=50, opacity=1)
        .encode(
            y=y,
            tooltip=tooltip,
            shape=alt.Shape("estimate:N", scale=alt.Scale(domain=names, range=look.SHAPES[: len(names)])),
        )
    )
    return alt.layer(seeds_.points(base, y=y), bar, mark).properties(width=look.WIDTH - 60, height=280)


CLAIM = Claim(
    name="figure-2",
    title="Curvature varies remarkably across layers",
    says="The average radius of curvature differs strongly between the layers of AlexNet (figure 2).",
    statistic="The median over a layer's weights of R = (1 + g²)^{3/2}/|h|, h by Gauss–Newton–Bartlett, at the first "
    "step: the layer of largest over the layer of smallest radius. Which layers these are is chosen from the other "
    "seeds, so that the ratio is not inflated by its own noise. 95 % Student's t interval of its logarithm over "
    "seeds.",
    confirms=f"The interval of the ratio lies above {FACTOR:g}.",
    refutes=f"The interval of the ratio lies below {FACTOR:g}.",
    decide=decide,
    figure=Figure(
        "figure-2",
        "Radius of curvature by layer",
        lambda _: (
            "Median radius over each layer's weights with g ≠ 0, at initialisation: geometric mean over seeds with "
            "95 % intervals, by three estimates. Drawn as measured."
        ),
        data,
        _chart,
        "No trial was measured by the probe curvature_radius.",
    ),
    note="The paper's figure enlarges the radius of biases tenfold (erratum 5). Biases are left out here.",
)
