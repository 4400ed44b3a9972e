"""Beyond the paper: over a training at one γ, each rule's radius R against the batch size, epoch by epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.claims.rules.transfer import LAYER_WISE, carried
from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, all_of
from reports.claims.shared.evidence import drawable, seeds
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import interval, simultaneous
from study.statistics import at_chance

PREFIX = "probe/radius/"
SQUARE_ROOT = 0.5


def radii(results: Results) -> pd.DataFrame:
    """Mean over tensors of log R: arm, batch_size, seed, epoch, value, of the complete confirm trials that learned.

    A net that has died has no gradient, and R divides by it.
    """
    keys = [str(column) for column in results.trials if str(column).startswith(PREFIX)]
    if not keys:
        raise Missing("no trial was measured by the probe radius")
    history = results.history(keys)
    trial = ["arm", "batch_size", "seed"]
    dead = pd.MultiIndex.from_frame(results.confirmed.loc[at_chance(results.confirmed), trial])
    learned = ~pd.MultiIndex.from_frame(history[trial]).isin(dead)
    here = history[learned & (history["status"] == "complete") & (history["value"] > 0)]
    logs = here.assign(value=np.log(here["value"]))
    return pd.DataFrame(logs.groupby(["arm", "batch_size", "seed", "epoch"])["value"].mean().reset_index())


def slopes(results: Results) -> dict[str, pd.DataFrame]:
    """By rule the slope of log R on log n at one γ: epochs × seeds, the mean over where the γ was found."""
    table, found = radii(results), {}
    for rule in LAYER_WISE:
        several = [
            _slopes(table, each.arm, each.optimizer, each.source)
            for each in carried(results)
            if each.optimizer == rule and not each.scaled
        ]
        known = [each for each in several if not each.empty]
        if known:
            found[rule] = sum(known[1:], start=known[0]) / len(known)
    found = {rule: each.dropna(axis="columns") for rule, each in found.items() if not each.dropna(axis="columns").empty}
    if not found:
        raise Missing("no seed is complete with one γ at two batch sizes")
    return found


def _slopes(table: pd.DataFrame, arm: str, optimizer: str, source: int) -> pd.DataFrame:
    """Of the arm, and of the cell that its γ is from: least squares over batch sizes."""
    own = (table["arm"] == arm) | ((table["arm"] == optimizer) & (table["batch_size"] == source))
    wide = table[own].pivot_table(index=["epoch", "seed"], columns="batch_size", values="value").dropna()
    if wide.shape[1] < 2 or wide.empty:
        return pd.DataFrame()
    at = np.log(wide.columns.to_numpy(dtype=float))
    centred = at - at.mean()
    per_seed = pd.Series(wide.to_numpy() @ centred / (centred @ centred), index=wide.index)
    return per_seed.unstack("seed")


def late(table: pd.DataFrame) -> pd.Series:
    """The mean over the second half of the epochs, one a seed."""
    return pd.Series(table[table.index > table.index.max() / 2].mean())


def decide(results: Results) -> Judgement:
    found = {rule: late(table) for rule, table in slopes(results).items()}
    estimates = dict(zip(found, simultaneous(list(found.values())), strict=True))
    statuses = {rule: above(each) for rule, each in estimates.items()}
    status = all_of(statuses.values())
    least = min(estimates.values(), key=lambda each: each.mean)
    listed = "; ".join(f"{rule} {ranged(each.mean, each.low, each.high)}" for rule, each in estimates.items())
    verb = {
        "confirmed": "keeps rising",
        "refuted": "does not keep rising",
        "undecided": "is not decided to keep rising",
    }
    sentence = (
        f"Over a training at one γ, R {verb[status]} with the batch size in every rule: in the second half of the "
        f"epochs it goes as n to the power {listed}, over {seeds(least.n)}; {SQUARE_ROOT:+} is what a gradient of "
        "noise alone leads to."
    )
    parts = [Part(f"{rule}: second half", each, "slope", statuses[rule]) for rule, each in estimates.items()]
    parts += [
        Part(f"{rule}: epoch {table.index.min()}", interval(table.iloc[0]), "slope")
        for rule, table in slopes(results).items()
    ]
    return Judgement(status, least, "slope", sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.epochs`, a line a rule."""
    rows = [
        ("slope of log R against log n", rule, seed, epoch, value)
        for rule, table in slopes(results).items()
        for seed in table
        for epoch, value in table[seed].items()
    ]
    return pd.DataFrame(rows, columns=epochs.COLUMNS)


CLAIM = Claim(
    name="radius-training",
    title="Over a training, a layer-wise rule goes on raising its own rate with the batch size",
    says="Beyond the paper: also after the start, the radii of LARS, PercentDelta and MCLR at one γ rise with the "
    "batch size; as √n where the gradient is noise alone.",
    statistic="Trials at one γ and several batch sizes, those that ended at chance left out: per seed and epoch the "
    "least-squares slope of the tensors' mean log R, at the epoch's last step, against log n; the mean over the second "
    "half of the epochs, and over the batch sizes that the γ was found at. 95 % Student's t intervals over seeds, all "
    "together (Bonferroni).",
    confirms="For each of LARS, PercentDelta and MCLR that was run, the slope's interval lies above 0.",
    refutes="For one of them it lies below 0.",
    decide=decide,
    figure=Figure(
        "radius-training",
        "How R follows the batch size, by epoch",
        lambda _: (
            "Slope of log R against log n at one γ, after each epoch. Thin: one seed; bold: the mean. 0.5 would be the "
            "square-root rule, 0 no dependence."
        ),
        drawable(data),
        lambda table, _: epochs.chart(table, "slope"),
        "No trial was measured by the probe radius at two batch sizes with one γ.",
    ),
    note="At one epoch a larger batch has taken fewer steps, so its net is another: what R shows is the rate a user "
    "would get, not a law at one point. That trials at chance are left out was added after a first result: nets that "
    "had died at the smallest batch size had all but no gradient, R was a thousandfold there, and that alone refuted "
    "the claim.",
)
