"""R of every rule at every batch size, against brute force; its prediction, against simulation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainables.probes.tiny import Double, measured
from trainables.probes.gradient_law import Fit, Moments
from trainables.probes.radius_law import MOST, PREDICTED, RULES, RadiusPass, folded_median

CLOSE = {"rel": 1e-6}


def radius(rule: str, w: Tensor, g: Tensor) -> float:
    """(20)–(24) as they stand in the paper, for a gradient without zeros."""
    if rule == "lars":
        return float(w.norm() / g.norm())
    if rule == "percent_delta":
        return w.numel() / float((g / w).abs().sum())
    lower = (w.numel() - 1) // 2
    return float(w.abs().flatten().sort().values[lower] / g.abs().flatten().sort().values[lower])


@pytest.mark.parametrize("images", [128, 135])
def test_one_pass_gives_what_each_batch_size_would(images: int) -> None:
    m = 8
    trial = Double(images, probe={"radius_law": {}}, batch_size=images, micro_batch=m, epochs=1)
    samples = {name: g[:] for name, g in trial.gradients(trial.order()).items()}
    weights = {name: p.detach().clone() for name, p in trial.named().items()}
    found = measured(trial, "radius_law")
    blocks, half = images // m, images // m // 2
    for layer in ("2.weight", "4.weight"):
        g, w = samples[layer].flatten(1), weights[layer].flatten()
        micro = g[: blocks * m].view(blocks, m, -1).mean(1)
        for rule in RULES:
            for n in (8, 16, 32, 64):
                size = n // m
                logs = [
                    torch.tensor(radius(rule, w, micro[i : i + size].mean(0))).log()
                    for i in range(0, half - size + 1, size)
                ]
                expected = float(torch.stack(logs).mean().exp())
                assert found[f"measured/{rule}/{layer}/{n}"] == pytest.approx(expected, rel=1e-5), (rule, n)
            assert found[f"measured/{rule}/{layer}/{images}"] == pytest.approx(radius(rule, w, g.mean(0)), rel=1e-5)
            held = micro[half:]
            unit, own = held.var(0) * m / images, images / (len(held) * m) - 1
            for n in (8, 32):
                spread = ((images / n - 1 - own) * unit).sqrt()
                value = found[f"predicted/{rule}/{layer}/{n}"]
                if rule == "lars":
                    square = (held.mean(0) ** 2 + spread**2).sum()
                    assert value == pytest.approx(float(w.norm() / square.sqrt()), **CLOSE)
                draws = (held.mean(0) + spread * torch.randn(40_000, len(w), dtype=torch.float64)).abs()
                if rule == "percent_delta":
                    assert value == pytest.approx(float(1 / (draws.mean(0) / w.abs()).mean()), rel=0.01)
                if rule == "mclr":
                    assert value == pytest.approx(float(w.abs().median() / draws.flatten().median()), rel=0.01)
        assert f"predicted/lars/{layer}/{images}" not in found
        assert found[f"noise_scale/{layer}"] > 0
    assert {key.split("/")[0] for key in found} == {"measured", "predicted", "noise_scale"}


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (2.0, 0.3), (1.0, 0.0)])
def test_the_folded_median_is_that_of_absolute_normals(mean: float, deviation: float) -> None:
    torch.manual_seed(0)
    draws = (mean + deviation * torch.randn(1_000_000, dtype=torch.float64)).abs()
    law = folded_median(torch.tensor([mean]).double(), torch.tensor([deviation]).double())
    assert float(law) == pytest.approx(float(draws.median()), rel=4e-3)


def test_predictions_have_no_bias_over_many_passes() -> None:
    """Gaussian samples with unequal μ_i, σ_i: what is predicted is what batches of other images have, at every n."""
    torch.manual_seed(0)
    images, m, entries = 1024, 8, 4000
    w = torch.randn(entries, dtype=torch.float64)
    w += 0.3 * w.sign()  # none near 0, whose few draws would decide PercentDelta's mean
    sigma = torch.rand(entries, dtype=torch.float64) + 0.2
    population = 0.06 * torch.randn(entries, dtype=torch.float64) + sigma * torch.randn(
        images, entries, dtype=torch.float64
    )
    errors: dict[str, list[float]] = {}
    for _ in range(12):
        micro = population[torch.randperm(images)].view(-1, m, entries).mean(1)
        moments = Moments()
        for x in micro[64:]:
            moments.add(x)
        fit = Fit(moments, m, images)
        for n in (8, 32, 128, 512):
            deviation = fit.spread(n)
            assert deviation is not None
            batch = micro[: n // m].mean(0)
            for rule, predict in PREDICTED.items():
                value = float(predict(w, fit.mean, deviation, fit.absolute(n)))
                errors.setdefault(f"{rule} {n}", []).append(value / radius(rule, w, batch) - 1)
    for key, values in errors.items():
        assert abs(sum(values) / len(values)) < 0.03, key


def test_entries_whose_gradient_is_always_0_are_left_out_of_the_medians() -> None:
    w, mean, deviation = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.5, 0.5]), torch.tensor([0.0, 0.0, 0.0])
    each = [x.double() for x in (w, mean, deviation)]
    assert float(PREDICTED["mclr"](*each, each[1].abs())) == pytest.approx(2.0 / 0.5)


def test_of_many_small_batches_some_are_enough() -> None:
    images = 4 * 2 * (MOST + 5)
    trial = Double(images, probe={"radius_law": {}}, batch_size=images, micro_batch=4, epochs=1)
    (observer,) = trial.observers.values()
    assert isinstance(observer, RadiusPass)
    counted: list[dict[int, int]] = []
    after = observer.after_epoch
    observer.after_epoch = lambda: (counted.append(dict(observer.counted)), after())[1]  # type: ignore[method-assign, func-returns-value]
    trial.run_epoch()
    assert counted[0][4] == MOST
    assert counted[0][8] == (MOST + 5) // 2
