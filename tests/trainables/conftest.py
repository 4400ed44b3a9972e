"""Every test here starts from the same random numbers, whatever ran before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

SEED = 20


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(SEED)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels launched."""
    from trainables.optimizers.kernels import walks

    names: list[str] = []
    usual = walks.launch

    def launch(kernel: Any, *args: Any, **constants: Any) -> None:
        names.append(kernel.__name__)
        usual(kernel, *args, **constants)

    monkeypatch.setattr(walks, "launch", launch)
    return names
