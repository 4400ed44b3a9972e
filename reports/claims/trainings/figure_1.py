"""Figure 1: accuracy against batch size."""

from __future__ import annotations

from dataclasses import replace

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, below
from reports.claims.shared.contrasts import FINAL, POINTS, hundredfold
from reports.claims.shared.evidence import caveats, home, last, seeds, sizes_of
from reports.figures import accuracy
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import FRACTION, interval
from study.statistics import slopes

UNIT = "percentage points per doubling of n"


def decide(results: Results) -> Judgement:
    arm = home(results)
    table = last(results, "test/accuracy", arm)
    sizes = sizes_of(table)
    if len(sizes) < 2:
        raise Missing(f"{arm} is complete at batch size {sizes[0]} only")
    effect = hundredfold(interval(slopes(table, sizes)))
    status = below(effect)
    verb = {"confirmed": "falls", "refuted": "rises", "undecided": "changes"}[status]
    doubt = "" if status != "undecided" else f", which {seeds(effect.n)} cannot tell from no change"
    slope = ranged(effect.mean, effect.low, effect.high, POINTS)
    sentence = (
        f"{arm}'s test accuracy {verb} from batch size {sizes[0]} to {sizes[-1]}: {slope} per "
        f"doubling{doubt}.{caveats(results, [arm])}"
    )
    parts = tuple(
        Part(f"test accuracy at {size}", hundredfold(interval(table[size].dropna(), within=FRACTION)), "%")
        for size in sizes
    )
    return Judgement(status, effect, UNIT, sentence, parts)


CLAIM = Claim(
    name="figure-1",
    title="Accuracy falls as the batch size grows",
    says="Large batches deteriorate AlexNet's accuracy on CIFAR-10 (figure 1).",
    statistic=f"Test accuracy {FINAL}: per seed the least-squares slope against log2 n; 95 % Student's t interval "
    "over the seeds that are complete at every batch size.",
    confirms="The slope's interval lies below 0.",
    refutes="The slope's interval lies above 0.",
    decide=decide,
    figure=replace(accuracy.FIGURE, name="figure-1"),
    note="One setting serves all batch sizes here unless the spec searches: a fixed rate favours the sizes that it "
    "suits.",
)
