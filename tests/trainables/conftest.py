"""Every test here starts from the same random numbers, whatever ran before it."""

from __future__ import annotations

import os

import pytest
import torch

# Where there is no GPU Triton interprets kernels. It asks when it is imported, so this stands before any test does.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

SEED = 20


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(SEED)
