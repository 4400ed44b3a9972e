"""Figure 9: E|g| against the share of small-loss samples discarded, and against as many discarded at random."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above
from reports.claims.shared.contrasts import PERCENT
from reports.claims.shared.evidence import called, dense, drawable, home, last, layers, seeds, summary
from reports.figures import against
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import number, ranged
from study.intervals import POSITIVE, Estimate, interval

UNIT = "% per 10 % discarded"
PREFIX = "probe/discard_gradient/"
KINDS = {"small": "smallest losses discarded", "random": "discarded at random (control)"}


def by_share(results: Results, kind: str, layer: str) -> pd.DataFrame:
    """E|g| after discarding P %: seeds × P, ascending."""
    key = f"{PREFIX}{kind}/{layer}/"
    shares = sorted(float(column.removeprefix(key)) for column in map(str, results.trials) if column.startswith(key))
    if len(shares) < 2:
        raise Missing(f"no trial has {key}… for two shares")
    return pd.DataFrame({p: last(results, f"{key}{p:g}", home(results)).iloc[:, 0] for p in shares}).dropna()


def per_ten(table: pd.DataFrame) -> pd.Series:
    """The slope of log E|g| per 10 % discarded, by least squares, one a seed."""
    tens = np.asarray(list(table.columns), dtype=float) / 10
    centred = tens - tens.mean()
    return pd.Series(np.log(table.to_numpy()) @ centred / float(centred @ centred), index=table.index)


def percent(logs: Estimate) -> Estimate:
    """A change of the logarithm as a change in %."""
    return logs.through(lambda x: 100 * math.expm1(x))


def decide(results: Results) -> Judgement:
    names = [name for name in layers(results, f"{PREFIX}small/") if name != "all"]
    layer = dense(names, 2)
    small = by_share(results, "small", layer)
    rises = per_ten(small)
    effect = percent(interval(rises))
    status = above(effect)
    parts = [Part(f"{KINDS['small']}: {called(layer, names)}", effect, UNIT, status)]
    control = ""
    try:
        chance = per_ten(by_share(results, "random", layer)).reindex(rises.index).dropna()
    except Missing:
        chance = pd.Series(dtype=float)
    if len(chance):
        share = interval(100 * chance / rises[chance.index])
        parts += [Part(KINDS["random"], percent(interval(chance)), UNIT),
                  Part("share of the rise that p alone explains", share, "%")]  # fmt: skip
        control = (
            f" Discarding as many at random explains {ranged(share.mean, share.low, share.high, '%')} of that rise: "
            "fewer samples make a noisier, so larger, gradient."
        )
    climbs = interval([100 * float(np.mean(np.diff(row) > 0)) for row in small.to_numpy()], within=PERCENT)
    parts.append(Part("steps of p at which E|g| rises", climbs, "%"))
    others = [name for name in names if name != layer]
    rises_ = {name: percent(interval(per_ten(by_share(results, "small", name)))) for name in others}
    parts += [Part(called(name, names), each, UNIT) for name, each in rises_.items()]
    verb = {"confirmed": "rises", "refuted": "falls", "undecided": "may or may not rise"}[status]
    sentence = (
        f"E|g| of the second fully connected layer {verb} as small-loss samples are discarded: by "
        f"{ranged(effect.mean, effect.low, effect.high, '%')} for each 10 % of the batch, over {seeds(effect.n)}; it "
        f"climbs at {number(climbs.mean)} % of the steps of p.{control}"
    )
    return Judgement(status, effect, UNIT, sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.against`: a line a way to discard."""
    names = [name for name in layers(results, f"{PREFIX}small/") if name != "all"]
    rows = []
    for kind, name in KINDS.items():
        try:
            table = by_share(results, kind, dense(names, 2))
        except Missing:
            continue
        rows.append(summary(name, table, POSITIVE))
    return pd.concat(rows)


CLAIM = Claim(
    name="figure-9",
    title="Discarding small-loss samples enlarges the gradient",
    says="E|g| of the second fully connected layer rises as the p % of samples with the smallest loss are discarded, "
    "p = 10 … 90, at batch size 8192 and step 1 (section 3.1, figure 9).",
    statistic="Per seed the least-squares slope of log E|g| against p; 95 % Student's t interval over seeds. Beside "
    "it the slope when as many samples are discarded at random, as a share of that rise.",
    confirms="The slope's interval lies above 0.",
    refutes="The slope's interval lies below 0.",
    decide=decide,
    figure=Figure(
        "figure-9",
        "E|g| against the share discarded",
        lambda _: (
            "Mean absolute gradient of the second fully connected layer at step 1, mean over seeds with 95 % "
            "intervals. The control, which the paper lacks, discards as many samples at random."
        ),
        data,
        lambda table, _: against.chart(table, "discarded  (% of the batch)", "E|g|  (loss / weight)", sizes=False),
        "No trial was measured by the probe discard_gradient.",
    ),
)
