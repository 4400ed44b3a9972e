"""Figures 4 and 7: the normalised strides of the first epoch, of parameters and of the loss, against batch size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from reports.claims.shared.claim import Claim, Judgement, Missing, Part
from reports.claims.shared.evidence import at_epoch, called, drawable, ends, home, images, layers, main, sizes_of
from reports.claims.shared.exponents import AGAINST, Forecast, Law, judged, power_through, slopes
from reports.figures import laws
from reports.figures.figure import Figure
from reports.numerics.laws import effective, fit_folded, fit_square, folded_normal
from reports.results import Results
from reports.tables.words import number

HELD_OUT = (
    "Both laws are fitted seed by seed on every second batch size (hollow) and tried on the others (filled): the "
    "store has no prediction entry by entry for a whole epoch."
)

# What was measured, and the law stated for it
PARAMETER = "probe/stride/normalised/", Law(-0.5, 0.05)
LOSS = "probe/loss_stride/normalised/", Law(-1.0, 0.1)

Curve = Callable[[Sequence[int], npt.ArrayLike, Sequence[int], int], npt.NDArray[np.float64]]


def folded_curve(
    fitted: Sequence[int], values: npt.ArrayLike, sizes: Sequence[int], total: int
) -> npt.NDArray[np.float64]:
    """The folded normal with one μ and one σ, fitted on `fitted`, at `sizes`."""
    mu, sigma = fit_folded(effective(fitted, total), values)
    return folded_normal(mu, sigma / np.sqrt(effective(sizes, total)))


def square_curve(
    fitted: Sequence[int], values: npt.ArrayLike, sizes: Sequence[int], total: int
) -> npt.NDArray[np.float64]:
    """μ² + σ²/n′, fitted on `fitted`, at `sizes`."""
    mean, noise = fit_square(effective(fitted, total), values)
    return np.asarray(mean + noise / effective(sizes, total))


def forecast(values: pd.DataFrame, law: Law, curve: Curve, total: int) -> Forecast:
    """`values`: seeds × batch sizes. Raises Missing below four sizes: two to fit on, two to try on."""
    values = values.dropna()
    sizes = sizes_of(values)
    if len(sizes) < 4 or values.empty:
        raise Missing("fitting two laws and trying them needs four batch sizes in one seed")
    fitted = sizes[::2]
    rows = [curve(fitted, row[fitted], sizes, total) for _, row in values.iterrows()]
    corrected = pd.DataFrame(rows, index=values.index, columns=values.columns)
    return Forecast(values, power_through(values, law.power, fitted), corrected, tuple(sizes[1::2]))


def decide(key: str, law: Law, curve: Curve, names: tuple[str, str], quantity: str, results: Results) -> Judgement:
    known, total = layers(results, key), images(results)
    first = main(known)
    values = {layer: at_epoch(results, f"{key}{layer}", home(results)) for layer in [first, *ends(known)]}
    main_slopes = slopes(values[first], total, law)
    parts: list[Part] = []
    more = ""
    for layer, table in values.items():
        if layer != first:
            parts.append(slopes(table, total, law).part(called(layer, known)))
        try:
            tried = forecast(table, law, curve, total)
        except Missing:
            continue
        parts += tried.parts(called(layer, known), names)
        if layer == first:
            paper, corrected = tried.errors()
            more = (
                f" On batch sizes held out of both fits, {names[0].removeprefix('paper: ')} is off by "
                f"{number(paper.mean)} % and the corrected law by {number(corrected.mean)} % (root mean square)."
            )
    return judged(main_slopes, law, quantity, parts, more)


def data(key: str, law: Law, curve: Curve, names: tuple[str, str], results: Results) -> pd.DataFrame:
    """With the columns of `reports.figures.laws`."""
    known, total = layers(results, key), images(results)
    parts = []
    for layer in dict.fromkeys([*(["all"] if "all" in known else []), *ends(known)]):
        table = at_epoch(results, f"{key}{layer}", home(results))
        parts.append(forecast(table, law, curve, total).rows(called(layer, known), names))
    return pd.concat(parts)


def _claim(name: str, title: str, says: str, key: str, law: Law, curve: Curve, corrected: str, quantity: str, unit: str,
           note: str) -> Claim:  # fmt: skip
    names = (f"paper: {law.text}", corrected)
    return Claim(
        name=name,
        title=title,
        says=says,
        statistic=f"{quantity} over all weights, averaged over the steps of epoch 1. {AGAINST}",
        confirms=law.confirms,
        refutes=law.refutes,
        decide=partial(decide, key, law, curve, names, quantity),
        figure=Figure(
            name,
            quantity,
            lambda _: f"{quantity}, geometric mean over seeds with 95 % intervals. {HELD_OUT}",
            drawable(partial(data, key, law, curve, names)),
            lambda table, _: laws.chart(table, unit),
            "No trial has measured strides at four batch sizes yet.",
        ),
        note=note,
    )


FIGURE_4 = _claim(
    "figure-4",
    "The normalised parameter stride shrinks as 1/√n",
    "The parameter stride of the first epoch over its learning rate, E|Δw|/lr, is ∝ 1/√n (equation 6, figure 4).",
    *PARAMETER,
    folded_curve,
    "corrected: folded normal",
    "The normalised parameter stride E|Δw|/lr",
    "E|Δw| / lr  (loss / weight)",
    "Smaller batches take more steps in an epoch, so their average is over later, different gradients: the epoch "
    "itself bends the law. The constant of (6) inherits erratum 1.",
)
FIGURE_7 = _claim(
    "figure-7",
    "The normalised loss stride shrinks as 1/n",
    "The loss stride of the first epoch over its learning rate, mean g², is ∝ 1/n (equation 8, figure 7).",
    *LOSS,
    square_curve,
    "corrected: μ² + σ²/n",
    "The normalised loss stride, mean g²,",
    "mean g²  (loss² / weight²)",
    "With a mean gradient μ ≠ 0, mean g² = μ² + σ²/n: a plateau μ² far above the noise scale (erratum 2).",
)
