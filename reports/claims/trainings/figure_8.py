"""Figure 8: loss curves over batch sizes, and how much they jump."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, all_of
from reports.claims.shared.evidence import by_others, caveats, curves, drawable, home, seeds, sizes_of
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.numerics.laws import fluctuation
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import POSITIVE, interval, simultaneous

METRIC, UNIT = "train/loss", "loss / epoch"
DEFINED = (
    "Fluctuation: how much the curve goes to and fro per epoch, (Σ|change| − |net change|)/(epochs − 1); 0 for a "
    "curve that only falls or only rises"
)


def fluctuations(table: pd.DataFrame) -> pd.DataFrame:
    """Of each trial's curve: seeds × batch sizes."""
    ordered = table.sort_values("epoch").groupby(["seed", "batch_size"])["value"]
    return ordered.apply(fluctuation).unstack()


def decide(results: Results) -> Judgement:
    arm = home(results)
    table = fluctuations(curves(results, METRIC, [arm])).dropna()
    sizes = sizes_of(table)
    if len(sizes) < 3 or table.empty:
        raise Missing("a minimum between needs curves of three epochs at three batch sizes in one seed")
    middle = sizes[1:-1]

    def over_least(end: int) -> list[float]:
        return by_others(table, lambda mean: mean[middle].idxmin(), lambda row, least: float(row[end] - row[least]))

    ends = simultaneous([over_least(sizes[0]), over_least(sizes[-1])])
    statuses = [above(each) for each in ends]
    status = all_of(statuses)
    labels = [f"batch size {size} above the least between" for size in (sizes[0], sizes[-1])]
    parts = [Part(label, each, UNIT, verdict) for label, each, verdict in zip(labels, ends, statuses, strict=True)]
    parts += [Part(f"fluctuation at {size}", interval(table[size], within=POSITIVE), UNIT) for size in sizes]
    least = table[middle].mean().idxmin()
    lead = {
        "confirmed": f"The loss fluctuates least at a batch size between, {least}",
        "refuted": "The loss does not fluctuate least at a batch size between",
        "undecided": f"{seeds(len(table))} do not show where the loss fluctuates least",
    }[status]
    excess = [ranged(each.mean, each.low, each.high) for each in ends]
    sentence = (
        f"{lead}: at {sizes[0]} it goes to and fro by {excess[0]} more per epoch than at the least size between, at "
        f"{sizes[-1]} by {excess[1]}.{caveats(results, [arm])}"
    )
    return Judgement(status, min(ends, key=lambda each: each.mean), UNIT, sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.epochs`: a panel a seed, as a mean would hide the jumps; a line a size."""
    table = curves(results, METRIC, [home(results)])
    panel = "seed " + table["seed"].astype(str)
    table = table.assign(panel=panel, line="n = " + table["batch_size"].astype(str))
    return table.sort_values(["seed", "batch_size", "epoch"])[epochs.COLUMNS]


CLAIM = Claim(
    name="figure-8",
    title="The loss fluctuates least at medium batch sizes",
    says="The fluctuation of the loss curve is big for small and for large batch sizes and small between (section "
    "2.3, figure 8).",
    statistic=f"Training loss by epoch. {DEFINED}. Per seed the smallest batch size's, and the largest's, minus that "
    "of the least size between, which is chosen from the other seeds. 95 % Student's t intervals, both together "
    "(Bonferroni).",
    confirms="Both intervals lie above 0.",
    refutes="One of them lies below 0.",
    decide=decide,
    figure=Figure(
        "figure-8",
        "Loss curves",
        lambda _: "Training loss by epoch (mean over the epoch's steps): a panel a seed, a line a batch size.",
        data,
        lambda table, _: epochs.chart(table, "training loss"),
        "No trial is complete yet.",
    ),
    note="The curve's points are means over an epoch's steps, which hides what small batches jump within an epoch. "
    "The effect stated is the smaller of the two.",
)
