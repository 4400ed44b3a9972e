"""Random numbers of a trial's own."""

from __future__ import annotations

import torch

from tests.trainables.conftest import SEED
from trainables.seeds import derive, generator, reseed


def test_derived_seeds_differ_by_use_and_repeat() -> None:
    seeds = {derive(seed, word, epoch) for seed in range(3) for word in ("order", "dropout") for epoch in range(3)}
    assert len(seeds) == 18
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "order", 2) == 2739087069771477911, "another number here, and every trial has other bits"


def test_a_generator_starts_at_its_uses_seed() -> None:
    assert generator(1, "order", 2).initial_seed() == derive(1, "order", 2)


def test_reseeding_gives_torchs_own_numbers() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = torch.rand(3)
        reseed(torch.device("cpu"), 7)
        assert torch.equal(torch.rand(3), expected)


def test_tests_draw_from_a_seed() -> None:
    """So that none of them fails once in a thousand runs."""
    assert torch.initial_seed() == SEED
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(SEED)))
