"""Figure 10: training accuracy with 30 % of the small-loss samples discarded."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, above, all_of
from reports.claims.shared.contrasts import FINAL, GAIN, HOLM, POINTS, deviations, gains, over_epochs, parts, stated
from reports.claims.shared.evidence import caveats, drawable, seeds
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.results import Results
from study.holm import holm

PLAIN, DISCARDS = "sgd", "sgd-discard"
METRIC = "train/accuracy"


def decide(results: Results) -> Judgement:
    by_size = gains(results, DISCARDS, PLAIN, METRIC)
    samples = {f"batch size {size}": sample for size, sample in by_size.items()}
    estimates = holm(list(samples.values()), within=GAIN)
    statuses = [above(estimate) for estimate in estimates]
    least = min(estimates, key=lambda estimate: estimate.mean)
    status = all_of(statuses)
    lead = {
        "confirmed": "Discarding raises the final training accuracy at every batch size",
        "refuted": "Discarding lowers the final training accuracy at some batch size",
        "undecided": f"{seeds(least.n)} do not show that discarding raises the final training accuracy everywhere",
    }[status]
    listed = "; ".join(stated(label, estimate) for label, estimate in zip(samples, estimates, strict=True))
    spread = [part for size in by_size for part in deviations(results, METRIC, (PLAIN, DISCARDS), size)]
    sentence = f"{lead} (percentage points above plain SGD, {listed}).{caveats(results, (PLAIN, DISCARDS))}"
    return Judgement(status, least, POINTS, sentence, (*parts(samples, estimates, statuses), *spread))


@drawable
def data(results: Results) -> pd.DataFrame:
    return over_epochs(results, METRIC, (PLAIN, DISCARDS))


def _chart(table: pd.DataFrame, results: Results) -> object:
    keys = results.trials
    until = keys["trick/discard/epochs"].dropna() if "trick/discard/epochs" in keys else pd.Series(dtype=float)
    within = float(until.iloc[0]) if len(until) and until.iloc[0] < table["epoch"].max() else None
    return epochs.chart(table, "training accuracy", form="~%", until=within)


CLAIM = Claim(
    name="figure-10",
    title="Discarding small-loss samples helps at both batch sizes",
    says="Discarding the 30 % of each batch with the smallest loss, in the first 100 epochs, raises training "
    "accuracy at batch size 2000 and at 8000 (section 3.1, figure 10).",
    statistic=f"Training accuracy {FINAL}: discarding minus plain SGD, paired by seed, at each batch size. {HOLM}",
    confirms="The interval lies above 0 at every batch size.",
    refutes="The interval lies below 0 at some batch size.",
    decide=decide,
    figure=Figure(
        "figure-10",
        "Training accuracy with and without small-loss samples",
        lambda _: (
            "Training accuracy by epoch (of all samples, as trained). Thin: a seed; bold: mean; shaded: from "
            "the lowest to the highest seed. Dotted: the end of the epochs that discard."
        ),
        data,
        _chart,
        "No trial of both arms is complete yet.",
    ),
    note="The effect stated is the smaller of the two. Training accuracy is what the paper draws; the gap table "
    "tells the test accuracy.",
)
