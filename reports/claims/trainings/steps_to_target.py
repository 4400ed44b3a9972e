"""Beyond the paper: steps to a target accuracy against batch size, and perfect scaling (Shallue et al. 2019)."""

from __future__ import annotations

import math

import altair as alt
import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part, above, within
from reports.claims.shared.evidence import caveats, curves, drawable, home, images, seeds, sizes_of
from reports.figures import look
from reports.figures import seeds as seeds_
from reports.figures.figure import Figure
from reports.numerics.laws import crossing, local_exponents
from reports.results import Results
from reports.tables.words import ranged
from study.intervals import POSITIVE, interval, simultaneous

METRIC = "val/accuracy"
PERFECT, TOLERANCE = -1.0, 0.15
ROUND = 0.05  # the target is a multiple of this


def target(table: pd.DataFrame) -> float:
    """The largest multiple of 5 % that every complete trial's curve reaches."""
    reached = float(table.groupby(["batch_size", "seed"])["value"].max().min())
    goal = math.floor(reached / ROUND + 1e-9) * ROUND
    if goal <= 0:
        raise Missing(f"some trial never reaches a {METRIC} of {ROUND:.0%}")
    return goal


def steps(results: Results) -> tuple[float, pd.DataFrame]:
    """The target, and the steps to it: seeds × batch sizes."""
    table = curves(results, METRIC, [home(results)])
    goal, total = target(table), images(results)
    table = table.assign(step=table["epoch"] * (total // table["batch_size"])).sort_values("epoch")
    reached = table.groupby(["seed", "batch_size"])[["step", "value"]].apply(
        lambda curve: crossing(curve["step"], curve["value"], goal)
    )
    return goal, reached.unstack()


def decide(results: Results) -> Judgement:
    goal, table = steps(results)
    sizes = sizes_of(table)
    if len(sizes) < 3:
        raise Missing("diminishing returns need three batch sizes")
    local = local_exponents(table, sizes)
    whole = local_exponents(table.dropna(), sizes)
    bend = interval(whole[-1] - whole[0])
    slopes = simultaneous(local)
    band = PERFECT - TOLERANCE, PERFECT + TOLERANCE
    parts = [
        Part(f"local slope {a} → {b}", slope, "slope", within(slope, *band))
        for a, b, slope in zip(sizes, sizes[1:], slopes, strict=False)
    ]
    parts += [Part(f"steps at {size}", interval(table[size].dropna(), within=POSITIVE), "steps") for size in sizes]
    status = above(bend)
    verb = {"confirmed": "diminish", "refuted": "grow", "undecided": "may or may not diminish"}[status]
    first, last_ = slopes[0], slopes[-1]
    sentence = (
        f"To reach {goal:.0%} validation accuracy, the returns of larger batches {verb}: the steps go as n to the "
        f"power {ranged(first.mean, first.low, first.high)} between {sizes[0]} and {sizes[1]} (perfect scaling: −1), "
        f"and {ranged(last_.mean, last_.low, last_.high)} between {sizes[-2]} and {sizes[-1]}, over "
        f"{seeds(bend.n)}.{caveats(results, [home(results)])}"
    )
    return Judgement(status, bend, "slope", sentence, tuple(parts))


@drawable
def data(results: Results) -> pd.DataFrame:
    """A row a batch size: steps with their interval, and perfect scaling from the smallest; below them the seeds."""
    _, table = steps(results)
    sizes = sizes_of(table)
    start = interval(table[sizes[0]].dropna()).mean
    rows = []
    for size in sizes:
        each = interval(table[size].dropna(), within=POSITIVE)
        rows.append((size, each.mean, each.low, each.high, start * sizes[0] / size, each.n))
    values = [
        {"batch_size": size, "mean": value, "seed": seed}
        for size in sizes
        for seed, value in table[size].dropna().items()
    ]
    means = pd.DataFrame(rows, columns=["batch_size", "mean", "low", "high", "perfect", "seeds"])
    return seeds_.below(means, values)


def _chart(table: pd.DataFrame, _: Results) -> alt.LayerChart:
    sizes = list(seeds_.of_means(table)["batch_size"])
    names = ["measured", "perfect scaling"]
    colour = alt.Color("line:N", scale=alt.Scale(domain=names, range=list(look.COLOURS[:2])))
    x = alt.X(
        "batch_size:Q",
        title="batch size (logarithmic)",
        scale=alt.Scale(type="log", base=2, nice=False, domain=[sizes[0] / 1.4, sizes[-1] * 1.4]),
        axis=alt.Axis(values=sizes, format="d", grid=False),
    )

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title="steps to the target", scale=alt.Scale(type="log", nice=False, padding=10),
                     axis=look.LOG_AXIS)  # fmt: skip

    base = alt.Chart(table.assign(line=names[0])).encode(x=x, color=colour)
    ideal = alt.Chart(seeds_.of_means(table).assign(line=names[1])).encode(x=x, color=colour)
    means = base.transform_filter(seeds_.MEANS)
    tooltip = [
        "batch_size:Q",
        *(alt.Tooltip(f"{each}:Q", format=".4~g") for each in ("mean", "low", "high", "perfect")),
    ]
    return alt.layer(
        ideal.mark_line(strokeDash=[7, 4], strokeWidth=2).encode(y=y("perfect")),
        means.mark_line(strokeWidth=1.4).encode(y=y("mean")),
        seeds_.points(base, y=y("mean")),
        base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2).encode(y=y("low"), y2="high:Q"),
        means.mark_point(filled=True, size=70, opacity=1).encode(y=y("mean"), tooltip=tooltip),
    ).properties(width=look.WIDTH - 60, height=300)


CLAIM = Claim(
    name="steps-to-target",
    title="Larger batches save steps, with diminishing returns",
    says="Beyond the paper: the steps to a target fall as 1/n at first (perfect scaling), then less and less "
    "(Shallue et al. 2019).",
    statistic="Steps until the validation accuracy reaches the target, by straight lines between epochs; the target "
    "is the largest multiple of 5 % that every complete seed reaches at every batch size. Per seed the slope of "
    "log(steps) against log n between each size and the next; judged is the last minus the first, by its 95 % "
    f"Student's t interval. The local slopes' intervals hold together (Bonferroni); within {PERFECT:g} ± "
    f"{TOLERANCE:g} they count as perfect scaling.",
    confirms="The difference's interval lies above 0: returns diminish.",
    refutes="The difference's interval lies below 0.",
    decide=decide,
    figure=Figure(
        "steps-to-target",
        "Steps to the target",
        lambda _: (
            "Steps to the target validation accuracy, mean over seeds with 95 % intervals. Dashed: perfect scaling, "
            "1/n from the smallest batch size."
        ),
        data,
        _chart,
        "No trial with a validation split is complete yet.",
    ),
    note="Shallue et al. tune every batch size anew; where the spec fixes the rate, its choice shapes the curve.",
)
