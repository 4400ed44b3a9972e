"""How good an estimate of the radius |w/g| is, equation (17), against the exact Hessian."""

from __future__ import annotations

from dataclasses import replace

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above
from reports.claims.shared.evidence import drawable, home, seeds
from reports.figures import curvature_estimates
from reports.figures.curvature_estimates import ESTIMATES
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import Bounds, interval

CORRELATION: Bounds = (-1.0, 1.0)
RANK = 0.3  # rank correlation from which an estimate orders the entries


def decide(results: Results) -> Judgement:
    table = curvature_estimates.data(results)
    table = table[(table["kind"] == "rank") & (table["arm"] == home(results))]
    if table.empty:
        raise Missing("no trial was measured by the probe curvature")
    by_seed = table.groupby(["estimate", "seed"])["value"].mean()
    correlations = {
        name: interval(by_seed[name], within=CORRELATION)
        for name in ESTIMATES.values()
        if name in by_seed.index.get_level_values(0)
    }
    paper = ESTIMATES["w-over-g"]
    if paper not in correlations:
        raise Missing("no trial has compared |w/g| with the exact radius")
    effect = correlations[paper]
    status = above(effect, RANK)
    verb = {
        "confirmed": "orders a layer's weights much as the exact radius does",
        "refuted": "says little of the exact radius",
        "undecided": "may or may not say something of the exact radius",
    }[status]
    correlation = ranged(effect.mean, effect.low, effect.high)
    sentence = f"|w/g| {verb}: rank correlation {correlation}, mean over layers, over {seeds(effect.n)}."
    parts = tuple(Part(name, each, "rank correlation") for name, each in correlations.items())
    return Judgement(status, effect, "rank correlation", sentence, parts)


CLAIM = Claim(
    name="curvature",
    title="|w/g| is a rough estimate of the radius of curvature",
    says="Near a minimum R ≈ |w/g| (equation 17): a rough estimate, of which statistics over a layer are still "
    "usable (section 4.1).",
    statistic="Spearman's rank correlation of |w/g| with the exact radius over a layer's weights with g ≠ 0, after "
    "the last epoch that measured, mean over layers, one a seed, in the baseline's arm; 95 % Student's t interval.",
    confirms=f"The interval lies above {RANK:g}.",
    refutes=f"The interval lies below {RANK:g}.",
    decide=decide,
    figure=replace(
        curvature_estimates.FIGURE,
        data=drawable(curvature_estimates.data),
        absent="No trial was measured by the probe curvature.",
    ),
)
