"""Beyond the paper: what an optimizer loses at other batch sizes than the one its rate was found at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import altair as alt
import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, all_of
from reports.claims.shared.contrasts import FINAL, GAIN, HOLM, POINTS
from reports.claims.shared.evidence import caveats, drawable, home, seeds, sizes_of, summary
from reports.figures import against, look
from reports.figures.figure import Figure
from reports.figures.grid import grid, title
from reports.results import Results
from reports.tables.words import ranged
from study.cell_name import CellName
from study.holm import holm
from study.intervals import Estimate, interval

LAYER_WISE = ("lars", "percent_delta", "mclr")
RATES = ("optimizer/gamma", "optimizer/lr")
METRIC = "test/accuracy"
CHANCE = 0.1  # of ten classes: what a trial that diverged is worth


@dataclass(frozen=True)
class Carried:
    """An arm that trains with values found elsewhere, and what it loses by it."""

    arm: str
    optimizer: str  # the arm whose values it takes
    source: int  # batch size that they were found at
    scaled: bool  # whether its rate follows the batch size
    losses: pd.DataFrame  # seeds × batch sizes but the source's: best found there minus this, percentage points

    @property
    def label(self) -> str:
        return f"{self.optimizer}{', rate scaled' if self.scaled else ''}, found at {self.source}"

    @property
    def mean(self) -> pd.Series:
        """The mean over batch sizes, one a seed that has them all."""
        return self.losses.dropna().mean(axis="columns")


def accuracy(results: Results, arm: str) -> pd.DataFrame:
    """Test accuracy in %: seeds × batch sizes; a trial that diverged counts as chance."""
    trials = results.confirmed
    here = trials[(trials["arm"] == arm) & trials["status"].isin(["complete", "diverged"])]
    if METRIC not in here or here.empty:
        raise Missing(f"no trial of {arm} has ended with {METRIC}")
    values = here[METRIC].where(here["status"] == "complete", CHANCE)
    table = here.assign(value=100 * values).pivot_table(index="seed", columns="batch_size", values="value")
    return table.sort_index(axis="columns")


def sources(results: Results) -> dict[str, CellName]:
    """By arm the cell that it has its values from, of record. Raises Missing where no arm has any."""
    trials = results.confirmed
    if "tuned_at" not in trials or trials["tuned_at"].isna().all():
        raise Missing("no trial has its values from another cell's search")
    found = trials.dropna(subset="tuned_at").drop_duplicates("arm").set_index("arm")["tuned_at"]
    return {arm: CellName.parse(str(found[arm])) for arm in results.arms if arm in found.index}


def carried(results: Results) -> list[Carried]:
    """Every such arm that has seeds at another batch size which its optimizer's own search has, too."""
    arms = []
    for arm, source in sources(results).items():
        best, own = accuracy(results, source.arm), accuracy(results, arm)
        sizes = [size for size in sizes_of(own) if size != source.batch_size and size in best]
        losses = (best[sizes] - own[sizes]).dropna(how="all").dropna(axis="columns", how="all")
        if losses.size:
            arms.append(Carried(arm, source.arm, source.batch_size, _scaled(results, arm, source), losses))
    if not arms:
        raise Missing("no seed has ended both with carried and with searched values")
    return arms


def _scaled(results: Results, arm: str, source: CellName) -> bool:
    """Whether the arm's rate is not everywhere that of the cell it is from."""
    trials = results.confirmed
    key = next((key for key in RATES if key in trials and trials.loc[trials["arm"] == arm, key].notna().any()), None)
    if key is None:
        return False
    name = str(CellName(source.arm, source.batch_size))
    found = trials.loc[trials["cell"] == name, key].astype(float).dropna()
    own = trials.loc[trials["arm"] == arm, key].astype(float)
    return bool(len(found)) and bool((abs(own / found.iloc[0] - 1) > 1e-9).any())


def spared(results: Results, arms: list[Carried]) -> dict[str, pd.Series]:
    """By optimizer how much less than the baseline's it loses, one a seed: the mean over the common sources."""
    plain = {each.source: each.mean for each in arms if each.optimizer == home(results) and not each.scaled}
    found: dict[str, list[pd.Series]] = {}
    for each in arms:
        if each.optimizer != home(results) and not each.scaled and each.source in plain:
            found.setdefault(each.optimizer, []).append(plain[each.source] - each.mean)
    means = {name: pd.concat(several, axis="columns").dropna().mean(axis="columns") for name, several in found.items()}
    return {name: sample for name, sample in means.items() if len(sample)}


def at_the_end(results: Results) -> list[str]:
    """`sgd/16 (0.6)`: cells whose best rate is the least or the greatest that its search tried."""
    trials, found = results.trials, []
    for cell in results.cells:
        here = trials[trials["cell"] == cell]
        for key in (key for key in RATES if key in here and key in results.searched.get(cell, ())):
            tried, best = (
                here.loc[here["phase"] == phase, key].astype(float).dropna() for phase in ("search", "confirm")
            )
            if len(tried) and len(best) and best.iloc[-1] in (tried.min(), tried.max()):
                found.append(f"{cell} ({best.iloc[-1]:g})")
    return found


def decide(results: Results) -> Judgement:
    arms = carried(results)
    samples = spared(results, arms)
    judged = {name: sample for name, sample in samples.items() if name in LAYER_WISE}
    if not judged:
        raise Missing(f"no seed is complete in {home(results)} and a layer-wise rule, both with carried values")
    estimates = dict(zip(judged, holm(list(judged.values()), within=GAIN), strict=True))
    statuses = {name: above(each) for name, each in estimates.items()}
    status = all_of(statuses.values())
    least = min(estimates.values(), key=lambda each: each.mean)
    more = {"confirmed": "less", "refuted": "more", "undecided": "not decided to be less"}
    listed = "; ".join(
        f"{name} {more[statuses[name]]}, by {ranged(each.mean, each.low, each.high)}"
        for name, each in estimates.items()
    )
    loses = "; ".join(f"{label} {_ranged(sample)}" for label, sample in _by_label(arms).items())
    at_end = at_the_end(results)
    edge = f" At an end of what was tried: {', '.join(at_end)}." if at_end else ""
    sentence = (
        f"What is lost by not tuning again, against plain {home(results)}, in percentage points over "
        f"{seeds(least.n)}: {listed}. Mean loss over the other batch sizes: {loses}.{edge}"
        f"{caveats(results, results.arms)}"
    )
    return Judgement(status, least, POINTS, sentence, tuple(_parts(results, arms, estimates, samples)))


def _parts(results: Results, arms: list[Carried], estimates: Mapping[str, Estimate],
           samples: Mapping[str, pd.Series]) -> list[Part]:  # fmt: skip
    decided = dict(zip(samples, holm(list(samples.values()), within=GAIN), strict=True)) | dict(estimates)
    parts = [
        Part(f"{home(results)}'s loss minus {name}'s", each, POINTS, above(each) if name in estimates else None)
        for name, each in decided.items()
    ]
    for each in arms:
        parts.append(Part(f"{each.label}: mean loss", interval(each.mean, within=GAIN), POINTS))
        parts += [
            Part(f"{each.label}, at {size}", interval(each.losses[size].dropna(), within=GAIN), POINTS)
            for size in sizes_of(each.losses)
        ]
    return parts


def _by_label(arms: list[Carried]) -> dict[str, pd.Series]:
    return {each.label: each.mean for each in arms}


def _ranged(sample: pd.Series) -> str:
    each = interval(sample, within=GAIN)
    return ranged(each.mean, each.low, each.high)


@drawable
def data(results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.against`, and `panel`: where the values were found."""
    tables = []
    for each in sorted(carried(results), key=lambda each: each.source):
        line = each.optimizer + (", rate scaled" if each.scaled else "")
        tables.append(summary(line, each.losses, GAIN).assign(panel=f"found at batch size {each.source}"))
    return pd.concat(tables, ignore_index=True)


def _chart(table: pd.DataFrame, _: Results) -> alt.ConcatChart:
    panels = []
    for panel in dict.fromkeys(table["panel"]):
        here = table[table["panel"] == panel]
        drawn = against.chart(here, "batch size (logarithmic)", "loss (percentage points)", rule=0.0)
        panels.append(drawn.properties(width=look.WIDTH - 60, height=220, title=title(str(panel))))
    return grid(panels, columns=1)


CLAIM = Claim(
    name="transfer",
    title="A layer-wise rule loses less than SGD when it is not tuned again",
    says="Beyond the paper: in (20) to (24) the radius divides by a gradient that shrinks as 1/√n below its noise "
    "scale, so that LARS, PercentDelta and MCLR raise their own rate as √n. What they lose at other batch sizes than "
    "the one their γ was found at is therefore less than what SGD loses with its rate.",
    statistic="The best configuration found at one batch size, trained at all others on the confirm seeds; its loss is "
    f"the test accuracy, {FINAL}, of the best found there minus its own, paired by seed. A trial that diverged counts "
    "as chance, 10 %. Per seed the mean over the other batch sizes, and over the batch sizes it was found at: SGD's "
    f"minus each rule's. {HOLM}",
    confirms="For each of LARS, PercentDelta and MCLR that was run, the interval of SGD's loss minus its loss lies "
    "above 0.",
    refutes="For one of them it lies below 0.",
    decide=decide,
    figure=Figure(
        "transfer",
        "Loss by not tuning again",
        lambda _: (
            "Test accuracy of the best configuration found at each batch size minus that of the one found at the batch "
            "size that the panel names, which is not drawn; mean over seeds with 95 % intervals. "
            "`rate scaled`: the same rate, but following the batch size as the spec says."
        ),
        drawable(data),
        _chart,
        "No arm has ended with values found at another batch size yet.",
    ),
    note="Values are carried as found, unchanged by the batch size: for SGD its rate. Biases are excluded from the "
    "layer-wise rules and keep one rate. The intervals hold the seeds' spread; the luck of the search, which may have "
    "missed the best at a batch size, is in none of them, and can make a loss negative. The effect stated is the "
    "smallest.",
)
