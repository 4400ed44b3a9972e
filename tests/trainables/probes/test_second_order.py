"""Radii, distance and sharpness against the exact Hessian of a tiny net."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.trainables.probes.tiny import Double, measured
from trainables.optimizers.hessian_diagonal import random_signs
from trainables.probes.sharpness import dominant, largest

LAYERS = ("2.weight", "4.weight")
CLOSE = {"rel": 1e-6}


def hessian(trial: Double, index: Tensor) -> Tensor:
    """Of the mean loss over `index`, by all parameters."""
    images, labels = trial.train.take(index)
    named = trial.named()
    sizes = [p.numel() for p in named.values()]

    def loss(flat: Tensor) -> Tensor:
        parts = {name: part.view(p.shape) for (name, p), part in zip(named.items(), flat.split(sizes), strict=True)}
        return cross_entropy(torch.func.functional_call(trial.model, parts, (images,)), labels)

    return torch.autograd.functional.hessian(loss, torch.cat([p.detach().flatten() for p in named.values()]))


def by_layer(trial: Double, flat: Tensor) -> dict[str, Tensor]:
    sizes = [p.numel() for p in trial.named().values()]
    return dict(zip(trial.named(), flat.split(sizes), strict=True))


def test_sharpness_is_the_exact_hessians_largest_eigenvalue() -> None:
    changes = {"batch_size": 20, "micro_batch": 7, "epochs": 1}
    trial = Double(probe={"sharpness": {"iterations": 5000, "tolerance": 1e-14}}, **changes)
    found = measured(trial, "sharpness")["eigenvalue"]
    exact = torch.linalg.eigvalsh(hessian(trial, torch.arange(40)))[-1]
    assert found == pytest.approx(float(exact), **CLOSE)


def test_the_product_is_the_hessians() -> None:
    trial = Double(probe={"sharpness": {"images": 10}}, batch_size=20)
    vector = [torch.randn_like(p) for p in trial.named().values()]
    product = trial.observers["sharpness"].hessian_product(vector)
    exact = hessian(trial, torch.arange(10) * 4) @ torch.cat([v.flatten() for v in vector])
    torch.testing.assert_close(torch.cat([x.flatten() for x in product]), exact, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("eigenvalues", [[3.0, 1.0, -2.0], [1.0, 0.5, -4.0], [-1.0, -2.0, -3.0], [0.0, 0.0, 0.0]])
def test_the_largest_eigenvalue_is_found_where_the_dominant_one_is_negative(eigenvalues: list[float]) -> None:
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    matrix = basis @ torch.diag(torch.tensor(eigenvalues).double()) @ basis.T
    start = [torch.ones(3).double() + torch.rand(3)]

    def product(vector):  # type: ignore[no-untyped-def]
        return [matrix @ vector[0]]

    assert largest(product, start, 1e-15, 10_000) == pytest.approx(max(eigenvalues), abs=1e-8)
    assert abs(dominant(product, start, 1e-15, 10_000)) == pytest.approx(max(map(abs, eigenvalues)), abs=1e-8)


@pytest.mark.parametrize("micro", [None, 10])
def test_radii_and_distance_follow_from_the_draws(micro: int | None) -> None:
    """The same random numbers, the estimates by a loop over samples and by the exact Hessian, the rest by hand."""
    probe = {"curvature_radius": {"draws": 4}, "distance": {"draws": 4}}
    trial = Double(probe=probe, batch_size=20, micro_batch=micro)
    index = trial.order()[:20]
    g = {name: x.mean(0) for name, x in trial.gradients(index).items()}
    w = {name: p.detach().clone() for name, p in trial.named().items()}
    gnb, signed = draws(trial, index, micro or 20, with_signs=True)
    alone, _ = draws(trial, index, micro or 20, with_signs=False)
    row = trial.run_epoch()
    for layer in LAYERS:
        slope = g[layer].flatten()
        for name, h in (("gnb", gnb), ("hutchinson", signed)):
            radii = (1 + slope**2) ** 1.5 / h[layer].abs().clamp_min(1e-12)
            assert row[f"probe/curvature_radius/{name}/{layer}"] == pytest.approx(float(radii.median()), **CLOSE)
        parabola = (w[layer].flatten() / slope).abs().median()
        assert row[f"probe/curvature_radius/w-over-g/{layer}"] == pytest.approx(float(parabola), **CLOSE)
        h = alone[layer].clamp_min(0.01 * alone[layer].mean())
        assert row[f"probe/distance/mean/{layer}"] == pytest.approx(float((slope.abs() / h).mean()), **CLOSE)
        ratio = slope.abs().mean() / alone[layer].mean()
        assert row[f"probe/distance/ratio/{layer}"] == pytest.approx(float(ratio), **CLOSE)


def draws(trial: Double, index: Tensor, size: int, *, with_signs: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Diagonals as the probes estimate them with four draws: labels from the model, and signs."""
    generator = torch.Generator().manual_seed(trial.generator("diagonal", 1).initial_seed())
    count = sum(p.numel() for p in trial.named().values())
    gnb, signed = torch.zeros(count).double(), torch.zeros(count).double()
    parts = index.split(size)
    each = -(-4 // len(parts))
    params = list(trial.named().values())
    for part in parts:
        images, _ = trial.train.take(part)
        for _ in range(each):
            chances = trial.model(images).detach().float().softmax(1)
            labels = torch.multinomial(chances, 1, generator=generator).flatten()
            total = torch.zeros(count).double()
            for image, label in zip(images, labels, strict=True):
                loss = cross_entropy(trial.model(image[None]), label[None]) / 20**0.5
                total += torch.cat([x.flatten() for x in torch.autograd.grad(loss, params)])
            gnb += total.square() / each
        exact = hessian(trial, part) * len(part) / 20
        for _ in range(each if with_signs else 0):
            z = torch.cat([s.flatten() for s in random_signs(params, generator)])
            signed += z * (exact @ z) / each
    return by_layer(trial, gnb), by_layer(trial, signed)


def test_dead_layers_have_no_radius_and_no_way_to_go() -> None:
    trial = Double(probe={"curvature_radius": {}, "distance": {}}, batch_size=20)
    with torch.no_grad():
        trial.model[4].weight.zero_()  # no gradient reaches the layer below
    row = trial.run_epoch()
    assert not [key for key in row if key.startswith("probe/curvature_radius/") and key.endswith("2.weight")]
    assert row["probe/distance/mean/2.weight"] == 0
    assert "probe/distance/ratio/2.weight" not in row
