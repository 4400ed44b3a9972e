"""Section 3.1's last line: discarding above batch size 8000."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, all_of, within
from reports.claims.shared.contrasts import ACCURACY, BONFERRONI, FINAL, GAIN, POINTS, gains, parts, rows, stated
from reports.claims.shared.evidence import caveats, drawable, seeds
from reports.figures import effects
from reports.figures.figure import Figure
from reports.results import Results
from study.intervals import simultaneous

PLAIN, DISCARDS = "sgd", "sgd-discard"
MARGIN = 1.0  # percentage points that count as no effect


def _samples(results: Results) -> dict[str, pd.Series]:
    samples: dict[str, pd.Series] = {}
    for metric, name in ACCURACY.items():
        try:
            by_size = gains(results, DISCARDS, PLAIN, metric)
        except Missing:
            continue
        samples |= {f"{name} at {size}": sample for size, sample in by_size.items()}
    if not samples:
        raise Missing(f"no seed is complete in both {PLAIN} and {DISCARDS}")
    return samples


def decide(results: Results) -> Judgement:
    samples = _samples(results)
    estimates = simultaneous(list(samples.values()), within=GAIN)
    statuses = [within(estimate, -MARGIN, MARGIN) for estimate in estimates]
    largest = max(estimates, key=lambda estimate: abs(estimate.mean))
    status = all_of(statuses)
    lead = {
        "confirmed": f"Discarding changes no accuracy by as much as {MARGIN:g} percentage point",
        "refuted": f"Discarding changes some accuracy by more than {MARGIN:g} percentage point",
        "undecided": f"{seeds(largest.n)} do not show whether discarding changes accuracy by less than "
        f"{MARGIN:g} percentage point",
    }[status]
    listed = "; ".join(stated(label, estimate) for label, estimate in zip(samples, estimates, strict=True))
    sentence = f"{lead} ({listed}).{caveats(results, (PLAIN, DISCARDS))}"
    return Judgement(status, largest, POINTS, sentence, parts(samples, estimates, statuses))


@drawable
def data(results: Results) -> pd.DataFrame:
    samples = _samples(results)
    return rows(samples, simultaneous(list(samples.values()), within=GAIN))


CLAIM = Claim(
    name="section-3.1",
    title="Discarding does nothing above batch size 8000",
    says="For batch sizes above 8000 the effect of discarding small-loss samples is not significant (section 3.1).",
    statistic=f"Training and test accuracy {FINAL}: discarding minus plain SGD, paired by seed, at each batch size "
    f"of the study. {BONFERRONI}",
    confirms=f"Every interval lies within ± {MARGIN:g} percentage point (equivalence; a test that finds nothing "
    "would not show that there is nothing).",
    refutes=f"Some interval lies wholly outside ± {MARGIN:g} percentage point.",
    decide=decide,
    figure=Figure(
        "section-3.1",
        "The effect of discarding",
        lambda _: (
            f"Accuracy with discarding minus plain SGD, with intervals that hold together. Shaded: ± {MARGIN:g} "
            "percentage point, which counts as no effect."
        ),
        data,
        lambda table, _: effects.chart(table, "difference (percentage points)", margin=MARGIN),
        "No seed is complete in both arms yet.",
    ),
    note="The effect stated is the largest of them. In a small study every batch size stands for one above 8000.",
)
