"""Figures 11 to 14: the baseline's curves over many seeds, and those with a smaller batch in the first epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, all_of, below, single
from reports.claims.shared.contrasts import FINAL, GAIN
from reports.claims.shared.evidence import caveats, curves, drawable, seeds
from reports.claims.trainings.figure_8 import DEFINED
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.numerics.laws import fluctuation
from reports.numerics.spread import spread_ratio
from reports.results import Results
from reports.tables.words import number, ranged
from study.intervals import ANYWHERE, POSITIVE, Bounds, interval

BASELINE, TRICK = "sgd", "sgd-first-epoch"
PAPERS_WINDOW = 80  # epochs
EARLY = "the first 80 epochs, or the first half of a shorter training"


@dataclass(frozen=True)
class Quantity:
    """Loss or accuracy, which differ in which way is better."""

    metric: str
    name: str
    unit: str
    scale: float
    better: int  # +1: more is better
    differences: Bounds  # of two values

    def table(self, results: Results, arms: tuple[str, ...]) -> pd.DataFrame:
        """The curves at the largest batch size of both arms, in this unit."""
        both = curves(results, self.metric, arms)
        largest: pd.DataFrame = both[both["batch_size"] == both["batch_size"].max()]
        return largest.assign(value=self.scale * largest["value"])


LOSS = Quantity("train/loss", "training loss", "loss", 1.0, -1, ANYWHERE)
ACCURACY = Quantity("train/accuracy", "training accuracy", "percentage points", 100.0, +1, GAIN)


def window(table: pd.DataFrame) -> int:
    """The last epoch of the part that the paper calls the first 80."""
    return min(PAPERS_WINDOW, int(table["epoch"].max()) // 2)


def jumps(table: pd.DataFrame, arm: str, first: int, end: int) -> pd.Series:
    """The fluctuation of each seed's curve over these epochs, both included."""
    here = table[(table["arm"] == arm) & table["epoch"].between(first, end)].sort_values("epoch")
    return here.groupby("seed")["value"].apply(lambda curve: fluctuation(curve.to_numpy())).dropna()


def final(table: pd.DataFrame, arm: str) -> pd.Series:
    """The last epoch's value by seed."""
    here = table[(table["arm"] == arm) & (table["epoch"] == table["epoch"].max())]
    return pd.Series(here["value"].to_numpy(), index=here["seed"])


def decide_baseline(quantity: Quantity, results: Results) -> Judgement:
    """Rougher early than late?"""
    table = quantity.table(results, (BASELINE,))
    end = window(table)
    early = jumps(table, BASELINE, 1, end)
    late = jumps(table, BASELINE, end + 1, int(table["epoch"].max()))
    if early.empty or late.empty:
        raise Missing("fluctuation early and late needs curves of six epochs")
    effect = interval((early - late).dropna())
    status = above(effect)
    spread = final(table, BASELINE).std(ddof=1) if len(early) > 1 else float("nan")
    deviation = single(float(spread), len(early))
    per_epoch = f"{quantity.unit} / epoch"
    parts = [
        Part(f"fluctuation in epochs 1–{end}", interval(early, within=POSITIVE), per_epoch),
        Part(
            f"fluctuation in epochs {end + 1}–{int(table['epoch'].max())}", interval(late, within=POSITIVE), per_epoch
        ),
        Part("standard deviation over seeds after the last epoch", deviation, quantity.unit),
    ]
    verb = {
        "confirmed": "fluctuates more",
        "refuted": "fluctuates less",
        "undecided": "may or may not fluctuate more",
    }[status]
    sentence = (
        f"The baseline's {quantity.name} {verb} in its first {end} epochs than afterwards: early minus late is "
        f"{ranged(effect.mean, effect.low, effect.high, per_epoch)} over {seeds(effect.n)}; after the last epoch the "
        f"seeds' standard deviation is {number(deviation.mean)} {quantity.unit}.{caveats(results, [BASELINE])}"
    )
    return Judgement(status, effect, per_epoch, sentence, tuple(parts))


def decide_trick(quantity: Quantity, results: Results) -> Judgement:
    """Smoother, tighter and better than the baseline?"""
    table = quantity.table(results, (BASELINE, TRICK))
    end = window(table)
    together = 1 - 0.05 / 3
    smoother = interval((jumps(table, TRICK, 1, end) - jumps(table, BASELINE, 1, end)).dropna(), together)
    base, ours = final(table, BASELINE), final(table, TRICK)
    tighter = spread_ratio(ours, base, together)
    better = interval((ours - base).dropna(), together, quantity.differences)
    if not smoother.n or not better.n:
        raise Missing("no seed is complete in both arms with enough epochs to tell their fluctuation")
    per_epoch, improves = f"{quantity.unit} / epoch", above if quantity.better > 0 else below
    parts = (
        Part(f"smoother: fluctuation in epochs 1–{end}, difference", smoother, per_epoch, below(smoother)),
        Part("tighter: standard deviation over seeds, ratio", tighter, "times", below(tighter, 1.0)),
        Part("better: after the last epoch, difference", better, quantity.unit, improves(better)),
    )
    status = all_of(part.status or "undecided" for part in parts)
    words: Mapping[str, str] = {"confirmed": "yes", "refuted": "no", "undecided": "undecided"}
    answers = "; ".join(
        f"{part.label.partition(':')[0]}: {words[part.status or 'undecided']}, "
        f"{ranged(part.effect.mean, part.effect.low, part.effect.high, part.unit)}"
        for part in parts
    )
    sentence = (
        f"With a smaller batch in the first epoch the {quantity.name} is, against the baseline over "
        f"{seeds(better.n)}, {answers}.{caveats(results, [BASELINE, TRICK])}"
    )
    return Judgement(status, better, quantity.unit, sentence, parts)


def data(quantity: Quantity, arm: str, results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.epochs`: every seed of the arm."""
    table = quantity.table(results, (arm,))
    table = table.assign(panel=arm + ", n = " + table["batch_size"].astype(str), line=arm)
    return table[epochs.COLUMNS]


def _figure(name: str, quantity: Quantity, arm: str) -> Figure:
    axis = quantity.name if quantity is LOSS else f"{quantity.name}  (%)"

    def chart(table: pd.DataFrame, _: Results) -> object:
        return epochs.chart(table, axis, until=window(table) + 0.5)

    return Figure(
        name,
        f"{quantity.name.capitalize()} of several seeds",
        lambda _: (
            f"{quantity.name.capitalize()} by epoch of {arm}. Thin: a seed; bold: mean; shaded: from the lowest "
            "to the highest seed. Dotted: the end of the epochs whose fluctuation is judged."
        ),
        drawable(partial(data, quantity, arm)),
        chart,
        f"No trial of {arm} is complete yet.",
    )


def _baseline(name: str, quantity: Quantity) -> Claim:
    return Claim(
        name=name,
        title=f"The baseline's {quantity.name} fluctuates early",
        says=f"At batch size 8192 the baseline's {quantity.name} has a big fluctuation in the first 80 epochs, which "
        f"leads to models of wide dispersion (section 3.2, figure {name[-2:]}).",
        statistic=f"{DEFINED}. Per seed that in {EARLY}, minus that in the rest; 95 % Student's t interval. "
        "The dispersion is the standard deviation over seeds; figures 13 and 14 test it against the other arm's.",
        confirms="The difference's interval lies above 0.",
        refutes="The difference's interval lies below 0.",
        decide=partial(decide_baseline, quantity),
        figure=_figure(name, quantity, BASELINE),
    )


def _trick(name: str, quantity: Quantity) -> Claim:
    return Claim(
        name=name,
        title=f"A small first-epoch batch makes the {quantity.name} smoother, tighter, better",
        says="With batch size 512 and a tenth of the rate in the first epoch, training is clearly improved: less "
        f"fluctuation, less dispersion, a better end (section 3.2, figure {name[-2:]}).",
        statistic=f"Against the baseline on the same seeds: the difference of fluctuations in {EARLY} (paired); the "
        f"ratio of standard deviations over seeds (F interval); and the difference in {quantity.name} {FINAL} "
        f"(paired). 95 % intervals, all three together (Bonferroni). {DEFINED}.",
        confirms="All three intervals lie on the claimed side: fluctuation below 0, ratio below 1, difference on the "
        "better side of 0.",
        refutes="One of the three lies wholly on the other side.",
        decide=partial(decide_trick, quantity),
        figure=_figure(name, quantity, TRICK),
        note="A ratio of standard deviations needs many seeds: with 5 in each arm it is clear only beyond about "
        "fourfold, with 10 beyond about 2.4.",
    )


FIGURE_11 = _baseline("figure-11", LOSS)
FIGURE_12 = _baseline("figure-12", ACCURACY)
FIGURE_13 = _trick("figure-13", LOSS)
FIGURE_14 = _trick("figure-14", ACCURACY)
