"""Section 5.1, equation (28): the mean distance to the minimum against batch size."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd

from reports.claims.laws.strides import folded_curve, forecast
from reports.claims.shared.claim import Claim, Judgement, Missing
from reports.claims.shared.evidence import at_epoch, called, drawable, ends, home, images, layers, main
from reports.claims.shared.exponents import AGAINST, Law, judged, slopes
from reports.figures import laws
from reports.figures.figure import Figure
from reports.results import Results

KEY = "probe/distance/mean/"
LAW = Law(-0.5, 0.05)
NAMES = ("paper: 1/√n", "folded normal")


def decide(results: Results) -> Judgement:
    known, total = layers(results, KEY), images(results)
    first = main(known)
    main_slopes = slopes(at_epoch(results, KEY + first, home(results)), total, LAW)
    parts = [
        slopes(at_epoch(results, KEY + layer, home(results)), total, LAW).part(called(layer, known))
        for layer in ends(known)
        if layer != first
    ]
    with suppress(Missing):
        ratio = at_epoch(results, f"probe/distance/ratio/{first}", home(results))
        parts.append(slopes(ratio, total, LAW).part("E|g| / E(h): one curvature for all, as in the paper"))
    return judged(main_slopes, LAW, "The mean distance E|d| of a weight from its minimum", parts)


@drawable
def data(results: Results) -> pd.DataFrame:
    known, total = layers(results, KEY), images(results)
    parts = []
    for layer in dict.fromkeys([*(["all"] if "all" in known else []), *ends(known)]):
        table = at_epoch(results, KEY + layer, home(results))
        parts.append(forecast(table, LAW, folded_curve, total).rows(called(layer, known), NAMES))
    return pd.concat(parts)


CLAIM = Claim(
    name="section-5.1",
    title="The distance to the minimum shrinks as 1/√n",
    says="The mean distance of a parameter from its nearest minimum, E|d| = E|g|/2a with 2a the second derivative, is "
    "∝ 1/√n: large batches leave every parameter centred on its minimum (section 5.1, equation 28).",
    statistic="E|d| = mean of |g|/|h| over all weights at the first step, h the diagonal of the Gauss–Newton "
    f"matrix. {AGAINST}",
    confirms=LAW.confirms,
    refutes=LAW.refutes,
    decide=decide,
    figure=Figure(
        "section-5.1",
        "E|d| against batch size",
        lambda _: (
            "Mean distance to the minimum of each weight's own parabola at the first step, mean over seeds with 95 "
            "% intervals. Both laws are fitted on every second batch size (hollow) and tried on the others (filled)."
        ),
        data,
        lambda table, _: laws.chart(table, "E|d|  (weight)"),
        "No trial has measured distances at four batch sizes yet.",
    ),
    note="That a batch's own parabola has its minimum near says nothing of the training loss: |d| falls because the "
    "noise of g does, and levels off at |μ|/2a. The paper takes one a for all weights; here each has its own. A "
    "constant factor (erratum 1) does not change the slope.",
)
