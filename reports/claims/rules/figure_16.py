"""Figure 16: MCLR against LARS at batch size 1024."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, within
from reports.claims.shared.contrasts import FINAL, GAIN, POINTS, deviations, gains, over_epochs
from reports.claims.shared.evidence import caveats, drawable, seeds
from reports.figures import epochs
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import interval

MCLR, LARS = "mclr", "lars"
METRIC = "train/accuracy"
MARGIN = 1.0  # percentage points that are negligible


def decide(results: Results) -> Judgement:
    by_size = gains(results, MCLR, LARS, METRIC)
    size = max(by_size)
    effect = interval(by_size[size], within=GAIN)
    status = within(effect, -MARGIN, MARGIN)
    lead = {
        "confirmed": f"MCLR and LARS end within {MARGIN:g} percentage point of each other",
        "refuted": f"MCLR and LARS end more than {MARGIN:g} percentage point apart",
        "undecided": f"{seeds(effect.n)} do not show whether MCLR and LARS end within {MARGIN:g} percentage point",
    }[status]
    difference = ranged(effect.mean, effect.low, effect.high, POINTS)
    sentence = (
        f"{lead} in training accuracy at batch size {size}: MCLR minus LARS is {difference}."
        f"{caveats(results, (MCLR, LARS))}"
    )
    return Judgement(status, effect, POINTS, sentence, tuple(deviations(results, METRIC, (LARS, MCLR), size)))


@drawable
def data(results: Results) -> pd.DataFrame:
    return over_epochs(results, METRIC, (LARS, MCLR))


CLAIM = Claim(
    name="figure-16",
    title="MCLR is as good as LARS at batch size 1024",
    says="Median-curvature and LARS reach the same training accuracy at batch size 1024: the discrepancy is negligibly "
    "small (section 4.2, figure 16).",
    statistic=f"Training accuracy {FINAL}: MCLR minus LARS, paired by seed; 95 % Student's t interval (logit scale), "
    f"an equivalence test (two one-sided tests at 2.5 %) with a margin of {MARGIN:g} percentage point. Both arms had "
    "the same search budget.",
    confirms=f"The interval lies within ± {MARGIN:g} percentage point.",
    refutes=f"The interval lies wholly outside ± {MARGIN:g} percentage point.",
    decide=decide,
    figure=Figure(
        "figure-16",
        "Training accuracy of MCLR and LARS",
        lambda _: "Training accuracy by epoch. Thin: a seed; bold: mean; shaded: from the lowest to the highest seed.",
        data,
        lambda table, _: epochs.chart(table, "training accuracy", form="~%"),
        "No trial of both arms is complete yet.",
    ),
    note="Equation (20) can be read in three ways; `optimizer/reading` in the spec says which is meant here.",
)
