"""Section 5.2's four classes of remedies, and the authors' other attempts, against plain SGD at the largest n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, Status, above, all_of
from reports.claims.shared.contrasts import FINAL, GAIN, HOLM, POINTS, gains, rows
from reports.claims.shared.evidence import caveats, drawable, seeds
from reports.figures import effects
from reports.figures.figure import Figure
from reports.results import Results
from reports.tables.words import ranged
from study.holm import holm
from study.intervals import Estimate

PLAIN, METRIC = "sgd", "test/accuracy"

Classes = Mapping[str, tuple[str, ...]]
REMEDIES: Classes = {
    "rate schedules": ("warmup", "legw", "one-cycle"),
    "batch-size schedules": ("grow",),
    "training longer": ("longer",),
    "leaving sharp minima": ("noise",),
}
ATTEMPTS: Classes = {
    "discarding small gradients": ("discard-gradients",),
    "larger dropout": ("dropout",),
    "a sharper loss": ("sharpen",),
}


def by_arm(results: Results, classes: Classes) -> dict[str, pd.Series]:
    """Each arm's gain over plain SGD at the largest batch size, in percentage points, one a seed."""
    samples: dict[str, pd.Series] = {}
    for arm in (arm for arms in classes.values() for arm in arms):
        try:
            by_size = gains(results, arm, PLAIN, METRIC, [max(results.batch_sizes)])
        except Missing:
            continue
        samples[arm] = next(iter(by_size.values()))
    if not samples:
        raise Missing(f"no seed is complete in both {PLAIN} and another arm at batch size {max(results.batch_sizes)}")
    return samples


def tested(samples: Mapping[str, pd.Series]) -> dict[str, Estimate]:
    """The mean gain of each arm, all tested together."""
    return dict(zip(samples, holm(list(samples.values()), within=GAIN), strict=True))


def best_of(mean_gains: Mapping[str, Estimate], arms: Sequence[str]) -> tuple[Status, Estimate | None]:
    """A class helps where one of its arms does, and harms where all of them do."""
    known = [mean_gains[arm] for arm in arms if arm in mean_gains]
    statuses = [above(estimate) for estimate in known]
    best = max(known, key=lambda estimate: estimate.mean, default=None)
    if "confirmed" in statuses:
        return "confirmed", best
    harms = len(known) == len(arms) and all(status == "refuted" for status in statuses)
    return ("refuted" if harms else "undecided"), best


def decide(classes: Classes, what: str, results: Results) -> Judgement:
    mean_gains = tested(by_arm(results, classes))
    verdicts = {name: best_of(mean_gains, arms) for name, arms in classes.items()}
    status = all_of(each for each, _ in verdicts.values())
    bests = [best for _, best in verdicts.values() if best is not None]
    least = min(bests, key=lambda estimate: estimate.mean)

    def named(wanted: Status) -> str:
        return ", ".join(name for name, (each, _) in verdicts.items() if each == wanted) or "none"

    helping = (
        f"Above plain SGD at batch size {max(results.batch_sizes)}, beyond doubt: {named('confirmed')}; below: "
        f"{named('refuted')}; not decided with {seeds(least.n)}: {named('undecided')}."
    )
    listed = ", ".join(f"{arm} {ranged(each.mean, each.low, each.high)}" for arm, each in mean_gains.items())
    absent = [arm for arms in classes.values() for arm in arms if arm not in mean_gains]
    lacks = f" No complete seed to compare: {', '.join(absent)}." if absent else ""
    sentence = f"{helping} {what} in percentage points: {listed}.{lacks}{caveats(results, results.arms)}"
    parts = tuple(
        Part(f"{name}: {arm}", mean_gains[arm], POINTS, above(mean_gains[arm]))
        for name, arms in classes.items()
        for arm in arms
        if arm in mean_gains
    )
    return Judgement(status, least, POINTS, sentence, parts)


def data(classes: Classes, results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.effects`, a group a class."""
    samples = by_arm(results, classes)
    mean_gains = tested(samples)
    return pd.concat(
        rows({arm: samples[arm]}, [mean_gains[arm]], name)
        for name, arms in classes.items()
        for arm in arms
        if arm in mean_gains
    )


def _claim(name: str, title: str, says: str, classes: Classes, note: str) -> Claim:
    several = any(len(arms) > 1 for arms in classes.values())
    a_class = " (one of its arms, where it has several)" if several else ""
    return Claim(
        name=name,
        title=title,
        says=says,
        statistic=f"Test accuracy {FINAL}, at the largest batch size: each arm minus plain SGD, paired by seed. {HOLM}",
        confirms=f"Each of {', '.join(classes)}{a_class} has its interval above 0.",
        refutes="One of them has its interval below 0" + (", in all its arms." if several else "."),
        decide=partial(decide, classes, "Gains"),
        figure=Figure(
            name,
            "Gain over plain SGD",
            lambda results: (
                f"Test accuracy minus plain SGD's at batch size {max(results.batch_sizes)}, with intervals that lie "
                "on one side of 0 exactly where Holm's test finds a difference."
            ),
            drawable(partial(data, classes)),
            lambda table, _: effects.chart(table, "gain over plain SGD (percentage points)"),
            "No seed is complete in two arms yet.",
        ),
        note=note,
    )


REMEDIES_CLAIM = _claim(
    "remedies",
    "Each of the four classes of remedies helps",
    "Rate schedules, batch-size schedules, training longer and eliminating sharp minima each alleviate the "
    "generalization gap (section 5.2, methods 1 to 4).",
    REMEDIES,
    "The effect stated is the best arm of the class that gains least. `longer` takes more steps, so more time, "
    "than the rest.",
)
ATTEMPTS_CLAIM = _claim(
    "attempts",
    "The authors' other ways to enlarge the gradient help",
    "Enlarging the gradient improves large-batch training; also tried were discarding small gradient values, "
    "larger dropout and a sharper loss (section 3). The paper reports no result for them.",
    ATTEMPTS,
    "The effect stated is the smallest of them.",
)
