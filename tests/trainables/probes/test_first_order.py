"""Gradient, strides, discarding: each against per-sample gradients by a loop."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.trainables.probes.tiny import Double, measured
from trainables.probes.layers import Layers

LAYERS = ("2.weight", "4.weight")
CLOSE = {"rel": 1e-6}


def batches(trial: Double, n: int, epoch: int = 1) -> list[torch.Tensor]:
    return list(trial.order(epoch).split(n))


def averages(tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    """Means of the entries by LAYER and `all`."""
    every = torch.cat([x.flatten() for x in tensors.values()])
    return {name: float(tensors[name].mean()) for name in LAYERS} | {"all": float(every.mean())}


@pytest.mark.parametrize("micro", [None, 4])
def test_the_gradient_is_the_mean_of_the_samples_gradients(micro: int | None) -> None:
    trial = Double(probe={"gradient": {}}, batch_size=10, micro_batch=micro)
    first = {name: g.mean(0).abs() for name, g in trial.gradients(batches(trial, 10)[0]).items()}
    found = measured(trial, "gradient")
    for layer, value in averages(first).items():
        assert found[f"first/{layer}"] == pytest.approx(value, **CLOSE)
    assert set(found) == {f"{kind}/{layer}" for kind in ("first", "mean") for layer in (*LAYERS, "all")}
    assert {key.split("/")[0] for key in measured(trial, "gradient")} == {"mean"}, "the first step is epoch 1's alone"


def test_strides_follow_the_weights_step_by_step() -> None:
    trial = Double(
        probe={"stride": {}, "loss_stride": {}, "gradient": {}},
        batch_size=10,
        schedule={"name": "cosine", "warmup_epochs": 0.5},
    )
    twin = Double(probe={}, batch_size=10, schedule={"name": "cosine", "warmup_epochs": 0.5})
    expected: dict[str, list[float]] = {}
    for number, index in enumerate(batches(twin, 10)):
        step = twin.step(1, number, 4, index)
        g = {name: g.mean(0) for name, g in twin.gradients(index).items()}
        before = {name: p.detach().clone() for name, p in twin.named().items()}
        twin.gradient(step)
        twin.optimizer.step()
        moved = {name: (p.detach() - before[name]).abs() for name, p in twin.named().items()}
        for layer, value in averages(moved).items():
            expected.setdefault(f"stride/mean/{layer}", []).append(value)
            expected.setdefault(f"stride/normalised/{layer}", []).append(value / step.rate)
        for layer, value in averages({name: x.square() for name, x in g.items()}).items():
            expected.setdefault(f"loss_stride/mean/{layer}", []).append(value * step.rate)
            expected.setdefault(f"loss_stride/normalised/{layer}", []).append(value)
        for layer, value in averages({name: x.abs() for name, x in g.items()}).items():
            expected.setdefault(f"gradient/mean/{layer}", []).append(value)
    row = trial.run_epoch()
    for key, values in expected.items():
        assert row[f"probe/{key}"] == pytest.approx(sum(values) / 4, **CLOSE), key
    for layer in LAYERS:
        assert row[f"probe/stride/sum/{layer}"] == pytest.approx(sum(expected[f"stride/mean/{layer}"]), **CLOSE)
        # of plain SGD, the normalised stride is the gradient
        assert row[f"probe/stride/normalised/{layer}"] == pytest.approx(row[f"probe/gradient/mean/{layer}"], **CLOSE)


@pytest.mark.parametrize("micro", [None, 7])
def test_discarding_drops_the_smallest_losses_of_the_whole_batch(micro: int | None) -> None:
    trial = Double(probe={"discard_gradient": {}}, batch_size=20, micro_batch=micro)
    index = batches(trial, 20)[0]
    images, labels = trial.train.take(index)
    order = cross_entropy(trial.model(images), labels, reduction="none").argsort()
    control = torch.randperm(20, generator=trial.generator("discard_gradient"))
    samples = trial.gradients(index)
    found = measured(trial, "discard_gradient")
    for kind, drops in (("small", order), ("random", control)):
        for share in range(0, 100, 10):
            kept = drops[share * 20 // 100 :]
            for layer, value in averages({name: g[kept].mean(0).abs() for name, g in samples.items()}).items():
                assert found[f"{kind}/{layer}/{share}"] == pytest.approx(value, **CLOSE)
    assert len(found) == 2 * 10 * 3
    assert measured(trial, "discard_gradient") == {}


def test_large_tensors_are_measured_at_a_stride_and_weigh_by_their_size() -> None:
    net = torch.nn.Linear(100, 30)
    layers = Layers(net, entries=64)
    means = layers.named(layers.means(layers.weights()))
    stride = 3000 // 64 | 1
    thin = net.weight.detach().flatten()[::stride].double()
    assert means["weight"] == pytest.approx(float(thin.mean()), **CLOSE)
    assert means["all"] == pytest.approx(float((thin.mean() * 3000 + net.bias.detach().double().sum()) / 3030), **CLOSE)
