"""Every test here starts from the same random numbers, whatever ran before it."""

from __future__ import annotations

import pytest
import torch

SEED = 20


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(SEED)
