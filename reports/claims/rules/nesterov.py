"""Beyond the paper: tuned Nesterov momentum against the layer-wise rules (Nado et al. 2021)."""

from __future__ import annotations

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, all_of
from reports.claims.shared.contrasts import BONFERRONI, FINAL, GAIN, POINTS, gains, rows, stated
from reports.claims.shared.evidence import caveats, drawable, seeds
from reports.figures import effects
from reports.figures.figure import Figure
from reports.results import Results
from study.intervals import interval, simultaneous

PLAIN, RIVALS = "sgd", ("lars", "mclr")
METRIC = "test/accuracy"
MARGIN = 1.0  # percentage points that Nesterov may be behind and still match


def _samples(results: Results) -> dict[str, pd.Series]:
    """SGD minus each rival by batch size, the largest first."""
    samples: dict[str, pd.Series] = {}
    for rival in RIVALS:
        by_size = gains(results, PLAIN, rival, METRIC)
        samples |= {f"{PLAIN} − {rival} at {size}": by_size[size] for size in sorted(by_size, reverse=True)}
    return samples


def decide(results: Results) -> Judgement:
    largest = max(results.batch_sizes)
    every = _samples(results)
    samples = {label: sample for label, sample in every.items() if label.endswith(f" at {largest}")}
    if len(samples) < len(RIVALS):
        raise Missing(f"not all of {PLAIN}, {' and '.join(RIVALS)} are complete at batch size {largest}")
    estimates = simultaneous(list(samples.values()), within=GAIN)
    statuses = [above(estimate, -MARGIN) for estimate in estimates]
    least = min(estimates, key=lambda estimate: estimate.mean)
    status = all_of(statuses)
    lead = {
        "confirmed": f"Tuned Nesterov is at most {MARGIN:g} percentage point behind LARS and MCLR",
        "refuted": f"Tuned Nesterov is more than {MARGIN:g} percentage point behind LARS or MCLR",
        "undecided": f"{seeds(least.n)} do not show whether tuned Nesterov keeps up with LARS and MCLR",
    }[status]
    listed = "; ".join(stated(label, estimate) for label, estimate in zip(samples, estimates, strict=True))
    decided = tuple(
        Part(label, estimate, POINTS, each) for label, estimate, each in zip(samples, estimates, statuses, strict=True)
    )
    others = tuple(Part(label, interval(every[label], within=GAIN), POINTS) for label in every if label not in samples)
    sentence = f"{lead} at batch size {largest} ({listed}).{caveats(results, (PLAIN, *RIVALS))}"
    return Judgement(status, least, POINTS, sentence, (*decided, *others))


@drawable
def data(results: Results) -> pd.DataFrame:
    samples = _samples(results)
    return rows(samples, simultaneous(list(samples.values()), within=GAIN))


CLAIM = Claim(
    name="nesterov",
    title="Tuned Nesterov keeps up with layer-wise rules",
    says="Beyond the paper: with the same tuning, momentum SGD with Nesterov matches LARS at large batch sizes (Nado "
    "et al. 2021); the paper compares LARS and MCLR with each other only.",
    statistic=f"Test accuracy {FINAL}, at the largest batch size: Nesterov minus LARS and minus MCLR, paired by "
    f"seed, each arm with the same search budget. {BONFERRONI}",
    confirms=f"Both intervals lie above −{MARGIN:g} percentage point.",
    refutes=f"One of them lies wholly below −{MARGIN:g} percentage point.",
    decide=decide,
    figure=Figure(
        "nesterov",
        "Nesterov minus the layer-wise rules",
        lambda _: (
            "Test accuracy of Nesterov SGD minus the rival's, with 95 % intervals all together. Shaded: ± "
            f"{MARGIN:g} percentage point. Left of the shade Nesterov is behind."
        ),
        data,
        lambda table, _: effects.chart(table, "difference in test accuracy (percentage points)", margin=MARGIN),
        "No seed is complete in all three arms yet.",
    ),
    note="The intervals hold what the training seed changes, not the luck of the search.",
)
