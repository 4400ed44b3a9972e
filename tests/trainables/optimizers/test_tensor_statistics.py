"""The statistics against numpy, at sizes and scales where a shortcut would show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainables.optimizers import tensor_statistics

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e37, 1e-37, 1e-42])
def test_norms_neither_overflow_nor_vanish(dtype: torch.dtype, scale: float) -> None:
    x = (torch.randn(50, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * scale).to(dtype)
    expected = np.sqrt(np.square(x.double().numpy() / scale).sum())
    rel = 1e-12 if dtype == torch.float64 else 1e-5
    assert float(tensor_statistics.norms([x])) / scale == pytest.approx(expected, rel=rel)


def test_norms_of_float64_beyond_its_square_root() -> None:
    x = torch.full((3, 3), 1e250, dtype=torch.float64)
    assert float(tensor_statistics.norms([x])) == pytest.approx(3e250, rel=1e-14)


def test_norms_of_zeros_nothing_and_not_numbers() -> None:
    nan, inf = torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("inf")])
    zero, empty = torch.zeros(3), torch.zeros(0)
    values = tensor_statistics.norms([zero, empty, nan, inf]).tolist()
    assert values[:2] == [0, 0]
    assert np.isnan(values[2])
    assert not np.isfinite(values[3])


def lower_median(x: np.ndarray) -> float:
    return float(np.sort(x.ravel())[(x.size - 1) // 2])


def gaussian(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=n)


DATA = {
    "one": gaussian(1),
    "even": gaussian(10),
    "many": gaussian(60_001),
    "few values": np.round(gaussian(60_000)),
    "constant": np.full(60_000, 3.0),
    "ascending": np.arange(60_000.0),
    # every entry that the stride meets is far from the median: the bracket misses it
    "misleading": np.where(
        np.arange(60_000) % tensor_statistics.stride(60_000, int(120_000 ** (2 / 3)) + 1) == 0, 1e6, gaussian(60_000)
    ),
}


@pytest.mark.parametrize("device_path", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("data", DATA)
def test_medians(data: str, masked: bool, device_path: bool) -> None:
    x = torch.tensor(DATA[data])
    mask = torch.arange(x.numel()) % 3 != 1 if masked else None
    # the accelerator's way runs on any device
    median = tensor_statistics._median_on_device if device_path else tensor_statistics._median_on_cpu
    expected = lower_median(x.numpy() if mask is None else x.numpy()[mask.numpy()])
    value, left_out = median(x, mask)
    assert (float(value), int(left_out)) == (expected, 0 if mask is None else int((~mask).sum()))


@pytest.mark.parametrize("n", [*range(1, 200), 517, 998])
def test_median_of_every_small_size(n: int) -> None:
    x = torch.tensor(gaussian(n))
    assert float(tensor_statistics.medians([x], absolute=True)[0]) == lower_median(x.abs().numpy())


@pytest.mark.parametrize("device_path", [False, True])
def test_median_of_nothing_is_zero(device_path: bool) -> None:
    median = tensor_statistics._median_on_device if device_path else tensor_statistics._median_on_cpu
    assert median(torch.zeros(0), None) == (0, 0)
    assert median(torch.ones(5), torch.zeros(5, dtype=torch.bool)) == (0, 5)


def test_medians_of_a_transposed_tensor_meet_their_mask() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).T
    assert tensor_statistics.masked_medians([x], [x > 3])[0].tolist() == [5]


def test_mean_ratios_floor_the_denominator() -> None:
    tops, bottoms = [torch.tensor([2.0, -1.0]), torch.zeros(0)], [torch.tensor([-4.0, 0.0]), torch.zeros(0)]
    assert tensor_statistics.mean_ratios(tops, bottoms, 0.0, 0.1).tolist() == pytest.approx([5.25, 0])
    assert tensor_statistics.mean_ratios(tops, bottoms, 0.25, 0.1).tolist() == pytest.approx([5.125, 0])


def test_mean_ratios_of_more_than_a_piece() -> None:
    a, b = torch.tensor(gaussian(600_000)).view(600, 1000), torch.tensor(gaussian(600_001)[1:]).view(600, 1000)
    expected = float(((a + 0.5 * b) / b).abs().mean())
    assert float(tensor_statistics.mean_ratios([a], [b], 0.5, 1e-300)) == pytest.approx(expected, rel=1e-12)


def test_a_thinned_tensor_keeps_its_order_and_most_of_its_size() -> None:
    x = torch.arange(100_000.0).view(100, 1000)
    assert tensor_statistics.thinned(x, 100_000) is x
    assert tensor_statistics.thinned(x, 60_000) is x, "a stride of one"
    thin = tensor_statistics.thinned(x, 33_000)
    assert thin.tolist() == list(range(0, 100_000, 5)), "3 would meet one column of each 3×3 kernel"


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_large_tensors_read_by_several_threads_keep_their_order(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_statistics, "THREADED", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    xs = [i + torch.tensor(gaussian(tensor_statistics.PIECE // i + 1)) for i in range(1, 6)]
    expected = [lower_median(x.abs().numpy()) for x in xs]
    values, left_out = tensor_statistics.masked_medians(xs, xs, absolute=True)
    assert values.tolist() == expected
    assert not left_out.any()
    ratios = [float(((x + 0.5 * y) / y).abs().mean()) for x, y in zip(xs, [2 * x + 9 for x in xs], strict=True)]
    assert tensor_statistics.mean_ratios(xs, [2 * x + 9 for x in xs], 0.5, 1e-9).tolist() == pytest.approx(
        ratios, rel=1e-12
    )
