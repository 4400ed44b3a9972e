"""The laws of batch size against simulated gradients and quadrature: also the derivations of the errata page."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from reports.numerics.laws import (
    crossing,
    effective,
    exponents,
    fit_folded,
    fit_power,
    fit_square,
    fluctuation,
    folded_normal,
    local_exponents,
    relative_error,
)

DRAWS = 400_000


def test_erratum_1_the_constant_is_the_root_of_2_over_pi() -> None:
    """σ = 1.7, n = 64: the mean of |g| over batches is s√(2/π), √2 below the printed 2σ/√(πn)."""
    sigma, n = 1.7, 64
    s = sigma / math.sqrt(n)
    draw = np.random.default_rng(0)
    batches = draw.normal(0, sigma, (20_000, n)).mean(axis=1)
    measured, error = np.abs(batches).mean(), np.abs(batches).std() / math.sqrt(20_000)
    assert abs(measured - s * math.sqrt(2 / math.pi)) < 4 * error
    assert abs(measured - 2 * sigma / math.sqrt(math.pi * n)) > 40 * error
    assert folded_normal(0.0, s) == pytest.approx(s * math.sqrt(2 / math.pi))


def test_erratum_1_the_density_integrates_to_one_with_the_corrected_exponent_only() -> None:
    sigma, n = 1.7, 64
    front = math.sqrt(n) / (sigma * math.sqrt(2 * math.pi))
    right, _ = integrate.quad(lambda g: front * math.exp(-0.5 * (g * math.sqrt(n) / sigma) ** 2), -5, 5, points=[0])
    printed, _ = integrate.quad(lambda g: front * math.exp(-0.5 * (g / (sigma * math.sqrt(n))) ** 2), -500, 500)
    assert right == pytest.approx(1)
    assert printed == pytest.approx(n, rel=1e-3)


@pytest.mark.parametrize("mu", [0.0, 0.1, 1.0, -3.0])
@pytest.mark.parametrize("s", [0.05, 1.0])
def test_erratum_2_the_folded_normal(mu: float, s: float) -> None:
    draws = np.abs(np.random.default_rng(1).normal(mu, s, DRAWS))
    assert abs(draws.mean() - float(folded_normal(mu, s))) < 4.5 * draws.std() / math.sqrt(DRAWS)
    assert float(folded_normal(mu, s)) == pytest.approx(stats.foldnorm(abs(mu) / s, scale=s).mean(), rel=1e-9)


def test_erratum_2_the_plateau_is_the_mean_gradient() -> None:
    assert float(folded_normal(-0.3, 0.0)) == 0.3
    assert float(folded_normal(0.0, 0.0)) == 0.0
    assert float(folded_normal(0.3, 1e-4)) == pytest.approx(0.3, rel=1e-12)


def test_erratum_2_the_mean_square() -> None:
    mu, sigma, n = 0.4, 2.0, 16
    squares = np.random.default_rng(2).normal(mu, sigma, (40_000, n)).mean(axis=1) ** 2
    assert abs(squares.mean() - (mu**2 + sigma**2 / n)) < 4 * squares.std() / math.sqrt(40_000)


def test_erratum_2_the_finite_population_factor() -> None:
    """Batches drawn without replacement from N numbers: variance σ²/n·(N-n)/(N-1) = σ²/n′."""
    numbers = np.random.default_rng(3).normal(0.2, 1.5, 200)
    draw = np.random.default_rng(4)
    for n in (10, 100, 190):
        means = np.array([draw.choice(numbers, n, replace=False).mean() for _ in range(6_000)])
        law = numbers.var() / float(effective([n], 200)[0])
        assert law == pytest.approx(numbers.var() / n * (200 - n) / 199)
        assert means.var() == pytest.approx(law, rel=0.09)
    assert effective([200], 200)[0] == math.inf


def test_erratum_2_one_fit_to_a_layer_of_unequal_entries_is_not_the_law_entry_by_entry() -> None:
    draw = np.random.default_rng(5)
    mu, sigma = draw.lognormal(-3, 1.5, 3_000), draw.lognormal(0, 1, 3_000)
    layer = np.array([folded_normal(mu, sigma / math.sqrt(n)).mean() for n in (32, 512, 8192)])
    one = folded_normal(mu.mean(), sigma.mean() / np.sqrt([32, 512, 8192]))
    assert relative_error(one, layer) > 0.03


def test_exponents_are_those_of_powers_and_a_seed_counts_when_whole() -> None:
    sizes = [32, 128, 512]
    values = pd.DataFrame(
        [[3 * n**-0.5 for n in sizes], [2 * n**-1.0 for n in sizes], [1.0, math.nan, 1.0]], columns=sizes
    )
    assert exponents(values, sizes) == pytest.approx([-0.5, -1.0])
    first, second = local_exponents(values, sizes)
    assert first == pytest.approx([-0.5, -1.0])
    assert second == pytest.approx([-0.5, -1.0])


def test_what_is_not_above_zero_has_no_logarithm() -> None:
    assert exponents(pd.DataFrame([[0.0, 1.0], [1.0, 2.0]]), [1, 2]) == pytest.approx([1.0])


def test_fits_find_what_made_the_numbers() -> None:
    n = np.array([32, 128, 512, 2048, 8192])
    assert fit_power(n, 3 * n**-0.5, -0.5) == pytest.approx(3)
    mean, noise = fit_square(n, 0.01 + 4.0 / n)
    assert (mean, noise) == (pytest.approx(0.01), pytest.approx(4.0))
    mu, sigma = fit_folded(n, folded_normal(0.02, 1.5 / np.sqrt(n)))
    assert (mu, sigma) == (pytest.approx(0.02, rel=1e-3), pytest.approx(1.5, rel=1e-3))


def test_a_fit_without_a_plateau_finds_none() -> None:
    n = np.array([32, 128, 512])
    assert fit_square(n, 4.0 / n)[0] == pytest.approx(0, abs=1e-9)
    mu, sigma = fit_folded(n, folded_normal(0.0, 1.5 / np.sqrt(n)))
    assert relative_error(folded_normal(mu, sigma / np.sqrt(n)), folded_normal(0.0, 1.5 / np.sqrt(n))) < 1e-3


def test_relative_error() -> None:
    assert relative_error([1.1, 0.9], [1.0, 1.0]) == pytest.approx(0.1)


def test_fluctuation_is_the_way_to_and_fro() -> None:
    assert fluctuation([4, 2, 1, 0.5]) == 0  # bent, but it only falls
    assert fluctuation([0, 1, 0, 1]) == pytest.approx(2 / 3)
    assert fluctuation([1, 0, 1]) == 1
    assert math.isnan(fluctuation([1, 2]))


def test_crossing_is_on_the_line_between_epochs() -> None:
    assert crossing([10, 20, 30], [0.1, 0.3, 0.5], 0.4) == pytest.approx(25)
    assert crossing([10, 20], [0.4, 0.5], 0.4) == 10
    assert crossing([10, 20, 30], [0.1, 0.5, 0.3], 0.5) == pytest.approx(20)
    assert math.isnan(crossing([10, 20], [0.1, 0.2], 0.4))
