"""Laws of batch size: the paper's powers of n, the corrected ones, and how far each is from what was measured.

n′ stands for `effective(n, N)`: what drawing n of N images without replacement is worth in draws with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special

from study.statistics import slopes

Floats = npt.NDArray[np.float64]


def effective(sizes: npt.ArrayLike, images: float) -> Floats:
    """n′ = n·(N - 1)/(N - n), so that the variance of a batch's mean is σ²/n′; infinite for the whole set."""
    n = np.asarray(sizes, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(n * (images - 1) / (images - n))


def folded_normal(mu: npt.ArrayLike, s: npt.ArrayLike) -> Floats:
    """E|g| for g ~ N(μ, s²): s·√(2/π)·exp(-μ²/2s²) + |μ|·erf(|μ|/(s√2)); |μ| where s = 0. Erratum 2."""
    size, spread = np.abs(np.asarray(mu, dtype=np.float64)), np.asarray(s, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = size / spread
        law = spread * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + size * special.erf(ratio / math.sqrt(2))
    return np.asarray(np.where(spread > 0, law, size))


def exponents(values: pd.DataFrame, sizes: Sequence[float]) -> Floats:
    """The power p of values ∝ size^p by least squares in logarithms, one a seed: (seeds, sizes) → (seeds,).

    A seed counts only when it has every size.
    """
    return slopes(values.where(values > 0).map(np.log2), sizes)


def local_exponents(values: pd.DataFrame, sizes: Sequence[float]) -> list[Floats]:
    """The same between each size and the next: (seeds,) a pair."""
    return [exponents(values.iloc[:, [at, at + 1]], sizes[at : at + 2]) for at in range(len(sizes) - 1)]


def fit_power(sizes: npt.ArrayLike, values: npt.ArrayLike, power: float) -> float:
    """C of values = C·size^power: the least error in logarithms."""
    return float(np.exp(np.mean(np.log(np.asarray(values)) - power * np.log(np.asarray(sizes)))))


def fit_square(sizes: npt.ArrayLike, squares: npt.ArrayLike) -> tuple[float, float]:
    """μ² and σ² ≥ 0 of mean g² = μ² + σ²/n′: the least relative error."""
    squared = np.asarray(squares, dtype=np.float64)
    columns = np.column_stack([1 / squared, 1 / (np.asarray(sizes) * squared)])
    scale = np.linalg.norm(columns, axis=0)
    scaled, _ = optimize.nnls(columns / scale, np.ones(len(squared)))
    return float(scaled[0] / scale[0]), float(scaled[1] / scale[1])


def fit_folded(sizes: npt.ArrayLike, values: npt.ArrayLike) -> tuple[float, float]:
    """|μ| and σ of E|g| = folded_normal(μ, σ/√n′): the least error in logarithms.

    One μ and one σ for all entries: a curve through points, to be tried on batch sizes that were not fitted.
    """
    n, logs = np.asarray(sizes, dtype=np.float64), np.log(np.asarray(values, dtype=np.float64))

    def errors(logarithms: Floats) -> Floats:
        mu, sigma = np.exp(logarithms)
        return np.asarray(np.log(folded_normal(mu, sigma / np.sqrt(n))) - logs)

    rough = [logs[-1], logs[0] + 0.5 * math.log(n[0] * math.pi / 2)]
    starts = [[rough[0] + shift, rough[1]] for shift in (0.0, -1.0, -3.0)]
    tries = [optimize.least_squares(errors, start, x_scale=1.0) for start in starts]
    mu, sigma = np.exp(min(tries, key=lambda fit: fit.cost).x)
    return float(mu), float(sigma)


def relative_error(predicted: npt.ArrayLike, measured: npt.ArrayLike) -> float:
    """Root mean square of predicted/measured - 1."""
    return float(np.sqrt(np.mean((np.asarray(predicted) / np.asarray(measured) - 1) ** 2)))


def fluctuation(curve: npt.ArrayLike) -> float:
    """How much a curve goes to and fro, per epoch: (Σ|change| - |net change|)/(epochs - 1).

    0 for a curve that only falls or only rises, however bent: unlike second differences, which call the bend of a steep
    start a fluctuation. NaN below 3 epochs.
    """
    values = np.asarray(curve, dtype=np.float64)
    if values.size < 3:
        return math.nan
    return float((np.abs(np.diff(values)).sum() - abs(values[-1] - values[0])) / (values.size - 1))


def crossing(steps: npt.ArrayLike, curve: npt.ArrayLike, target: float) -> float:
    """The step at which `curve` first reaches `target`, by the straight line between epochs; NaN if it never does.

    The first epoch counts as reached at its end: what lies before it was not measured.
    """
    at, values = np.asarray(steps, dtype=np.float64), np.asarray(curve, dtype=np.float64)
    above = np.flatnonzero(values >= target)
    if not above.size:
        return math.nan
    k = int(above[0])
    if k == 0:
        return float(at[0])
    share = (target - values[k - 1]) / (values[k] - values[k - 1])
    return float(at[k - 1] + share * (at[k] - at[k - 1]))
