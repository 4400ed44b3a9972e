"""The one pass of figure 3 against brute force, and its law against simulation."""

from __future__ import annotations

import math
import re

import pytest
import torch
from pydantic import ValidationError

from tests.tiny import config
from tests.trainables.probes.tiny import Double, measured
from trainables.errors import Refused, explain
from trainables.probes.gradient_law import Fit, Moments, folded_normal

CLOSE = {"rel": 1e-6}


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.3, 1.0), (-2.0, 0.5), (1.0, 0.0), (0.0, 0.0)])
def test_the_folded_normal_is_the_mean_of_absolute_normals(mean: float, deviation: float) -> None:
    torch.manual_seed(0)
    draws = mean + deviation * torch.randn(2_000_000, dtype=torch.float64)
    law = folded_normal(torch.tensor([mean]).double(), torch.tensor([deviation]).double())
    assert float(law) == pytest.approx(float(draws.abs().mean()), rel=2e-3, abs=1e-12)


def test_the_papers_constant_is_not_the_folded_normals() -> None:
    """(3): at μ = 0, E|g| = s√(2/π), not 2s/√π."""
    law = float(folded_normal(torch.zeros(1).double(), torch.ones(1).double()))
    assert law == pytest.approx(math.sqrt(2 / math.pi), **CLOSE)
    assert law != pytest.approx(2 / math.sqrt(math.pi), rel=0.2)


@pytest.mark.parametrize("images", [128, 135])
def test_one_pass_gives_what_each_batch_size_would(images: int) -> None:
    m = 8
    trial = Double(images, probe={"gradient_law": {}}, batch_size=images, micro_batch=m, epochs=1)
    samples = {name: g[:] for name, g in trial.gradients(trial.order()).items()}
    found = measured(trial, "gradient_law")
    blocks, half = images // m, images // m // 2
    layers = ("2.weight", "4.weight", "all")
    samples["all"] = torch.cat([g.flatten(1) for g in samples.values()], dim=1)
    for layer in layers:
        g = samples[layer].flatten(1)
        micro = g[: blocks * m].view(blocks, m, -1).mean(1)
        whole = g.mean(0)
        for n in (8, 16, 32, 64, 128):
            size = n // m
            last = half if size <= half else size  # in the first half, or else the first of its size
            batch = torch.stack([micro[i : i + size].mean(0) for i in range(0, last - size + 1, size)])
            if n < images:
                assert found[f"measured/{layer}/{n}"] == pytest.approx(float(batch.abs().mean()), **CLOSE)
                assert found[f"square/{layer}/{n}"] == pytest.approx(float(batch.square().mean()), **CLOSE)
        assert found[f"measured/{layer}/{images}"] == pytest.approx(float(whole.abs().mean()), **CLOSE)
        assert found[f"mu/{layer}"] == pytest.approx(float(whole.abs().mean()), **CLOSE)
        variance = micro.var(0)
        trace = float(variance.sum()) * m * (images - 1) / images
        assert found[f"noise_scale/{layer}"] == pytest.approx(trace / float(whole.square().sum()), **CLOSE)
        held = micro[half:]
        unit, own = held.var(0) * m / images, images / (len(held) * m) - 1
        for n in (8, 32):
            spread = ((images / n - 1 - own) * unit).sqrt()
            expected = spread * math.sqrt(2 / math.pi) * torch.exp(-(held.mean(0) ** 2) / (2 * spread**2))
            expected += held.mean(0) * torch.erf(held.mean(0) / (spread * math.sqrt(2)))
            assert found[f"folded/{layer}/{n}"] == pytest.approx(float(expected.mean()), **CLOSE)
            square = held.mean(0) ** 2 + (images / n - 1 - own) * unit
            assert found[f"square_law/{layer}/{n}"] == pytest.approx(float(square.mean()), **CLOSE)


def test_the_held_out_predictions_have_no_bias_over_many_passes() -> None:
    """Gaussian samples with unequal μ_i, σ_i: the law's mean over passes is the measured mean, at every batch size."""
    torch.manual_seed(0)
    images, m, entries = 512, 8, 4000
    mu = 0.06 * torch.randn(entries, dtype=torch.float64)
    sigma = torch.rand(entries, dtype=torch.float64) + 0.2
    population = mu + sigma * torch.randn(images, entries, dtype=torch.float64)
    sizes = (8, 32, 128, 256, 384, 512)
    errors: dict[str, list[float]] = {f"{law}{n}": [] for n in sizes for law in ("|g|", "g²")}
    for _ in range(20):
        micro = population[torch.randperm(images)].view(-1, m, entries).mean(1)
        moments = Moments()
        for x in micro[32:]:
            moments.add(x)
        fit = Fit(moments, m, images)
        for n in sizes:
            batch = micro[: n // m].mean(0)
            errors[f"|g|{n}"].append(float(fit.absolute(n).mean() / batch.abs().mean()) - 1)
            errors[f"g²{n}"].append(float(fit.square(n).mean() / batch.square().mean()) - 1)
    for key, values in errors.items():
        mean = torch.tensor(values).mean()
        assert abs(mean) < 0.02, (key, float(mean))
    naive = float(moments.mean.abs().mean() / population.mean(0).abs().mean())
    assert naive > 1.05, "without a correction the plateau would be visibly too high"


def test_moments_merge() -> None:
    torch.manual_seed(0)
    x = torch.randn(9, 5, dtype=torch.float64)
    left, right = Moments(), Moments()
    for row in x[:4]:
        left.add(row)
    for row in x[4:]:
        right.add(row)
    both = left.merged(right)
    torch.testing.assert_close(both.mean, x.mean(0))
    torch.testing.assert_close(both.variance, x.var(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {},
            "micro_batch = None: gradient_law averages micro-batches up: it wants at least 4 in a batch of 16; ",
        ),
        ({"micro_batch": 5}, "micro_batch = 5: gradient_law averages micro-batches up"),
        (
            {"micro_batch": 4, "trick": {"discard": {"p": 0.3, "epochs": 1}}},
            "trick = ['discard']: gradient_law measures the mean over all samples, a trick selects some; leave",
        ),
    ],
)
def test_a_trial_that_has_no_pass_to_measure_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(probe={"gradient_law": {}}, **changes)
    with pytest.raises(Refused, match=re.escape(message)):
        raise explain(caught.value)
