"""Section 5.2: the layers' curvature before and after warm-up."""

from __future__ import annotations

import math

import pandas as pd

from reports.claims.curvature.figure_2 import ESTIMATE, PREFIX, radii
from reports.claims.shared.claim import Claim, Judgement, Missing, Part, below
from reports.claims.shared.evidence import caveats, drawable, in_order, layers, seeds
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import POSITIVE, Estimate, interval

WARM, PLAIN = "sgd-warmup", "sgd"


def after(results: Results) -> int:
    """The first epoch whose first step comes after the warm-up."""
    trials = results.confirmed[results.confirmed["arm"] == WARM]
    key = "schedule/warmup_epochs"
    known = trials[key].dropna() if key in trials else pd.Series(dtype=float)
    if known.empty or float(known.iloc[0]) <= 0:
        raise Missing(f"the study has no arm {WARM} with a warm-up")
    return math.ceil(float(known.iloc[0])) + 1


def final(results: Results) -> int:
    """The last epoch whose first step was measured; raises Missing where it does not come after the warm-up."""
    prefix = f"{PREFIX}{ESTIMATE}/"
    measured = results.history([f"{prefix}{layers(results, prefix)[0]}"])
    epochs_ = measured[measured["arm"] == WARM]["epoch"]
    if epochs_.empty or epochs_.max() < after(results):
        raise Missing(f"no radius of {WARM} was measured after its warm-up")
    return int(epochs_.max())


def spread(results: Results, arm: str, epoch: int) -> pd.Series:
    """The standard deviation over layers of the log10 of their median radius, one a seed."""
    return radii(results, arm, epoch).dropna().std(axis=1, ddof=1) / math.log(10)


def change(results: Results, arm: str, epoch: int) -> pd.Series:
    """Of the spread from the first epoch to this one, one a seed; raises Missing where there is none."""
    differences = (spread(results, arm, epoch) - spread(results, arm, 1)).dropna()
    if differences.empty:
        raise Missing(f"no seed of {arm} has its radii at epoch 1 and at epoch {epoch}")
    return differences


def decide(results: Results) -> Judgement:
    warm, end = after(results), final(results)
    effect = interval(change(results, WARM, end))
    status = below(effect)
    before, then = (interval(spread(results, WARM, at), within=POSITIVE) for at in (1, end))
    unit = "decades (standard deviation over layers)"
    parts = [Part("before warm-up", before, unit), Part(f"at the end, epoch {end}", then, unit)]
    parts.append(Part(f"change over the warm-up alone, to epoch {warm}", interval(change(results, WARM, warm)), unit))
    control = ""
    try:
        plain = interval(change(results, PLAIN, end))
    except Missing:
        plain = Estimate(math.nan, math.nan, math.nan, 0)
    if plain.n:
        parts.append(Part(f"change without warm-up ({PLAIN}), same epochs", plain, unit))
        control = f" Without warm-up it changes by {ranged(plain.mean, plain.low, plain.high)} in the same epochs."
    verb = {"confirmed": "converge", "refuted": "move apart", "undecided": "may converge or move apart"}[status]
    sentence = (
        f"With warm-up the radii of the layers {verb}: their spread changes by "
        f"{ranged(effect.mean, effect.low, effect.high, 'decades')} up to epoch {end}, from "
        f"{ranged(before.mean, before.low, before.high)}, over {seeds(effect.n)}.{control}{caveats(results, [WARM])}"
    )
    return Judgement(status, effect, "decades", sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.epochs`: a panel an arm, a line a layer."""
    after(results)
    prefix = f"{PREFIX}{ESTIMATE}/"
    keys = [
        str(column) for column in results.trials if str(column).startswith(prefix) and not str(column).endswith("/all")
    ]
    history = results.history(sorted(keys, key=lambda key: in_order(key.removeprefix(prefix))))
    table = history[(history["value"] > 0) & history["arm"].isin((WARM, PLAIN))]
    layer = table["metric"].str.removeprefix(prefix)
    table = table.assign(panel=table["arm"], line=layer.str.removesuffix(".weight"), order=layer.map(in_order))
    table = table.sort_values(["arm", "order", "seed", "epoch"], key=lambda c: c.ne(WARM) if c.name == "arm" else c)
    return pd.DataFrame(table[epochs.COLUMNS])


def _chart(table: pd.DataFrame, results: Results) -> object:
    return epochs.chart(table, "median radius  (weight² / loss)", log=True, until=float(after(results)), shade=False)


CLAIM = Claim(
    name="section-5.2",
    title="After warm-up the layers' curvatures converge",
    says="Warm-up lets the parameters in sharp minima move first; after it, the curvatures of the layers incline to "
    "converge (section 5.2, method 1).",
    statistic="The standard deviation over layers of log10 of their median radius (Gauss–Newton–Bartlett), at the "
    "first step of the last epoch minus at the first step of all, one a seed; 95 % Student's t interval. Beside it "
    "the change over the warm-up alone, where the loss may still be at chance, and the same without warm-up.",
    confirms="The change's interval lies below 0.",
    refutes="The change's interval lies above 0.",
    decide=decide,
    figure=Figure(
        "section-5.2",
        "Radius of curvature by layer and epoch",
        lambda _: (
            "Median radius of each layer's weights at the first step of every epoch, a line a layer. "
            "Thin: a seed; bold: geometric mean. Dotted: the first epoch after the warm-up."
        ),
        data,
        _chart,
        "No trial with a warm-up was measured by the probe curvature_radius.",
    ),
    note="Erratum 6: the paper cites figure 1 for what figure 2 shows. The claim is confirmed by convergence after "
    "a warm-up; whether warm-up is its cause is told by the arm without it.",
)
