"""Built-in studies keep their trials: every cell's configuration has the hash that 9bd26f5 gave it."""

from __future__ import annotations

import pytest

from study.plan import cells
from study.spec import Spec, load

# By spec and scale: the first four characters of the hash of each cell's typical configuration, from 9bd26f5. Where a
# spec is changed on purpose, so that its old trials no longer answer its question, take out what no longer holds.
STORED = {
    "cifar10 full": "e8d4 db2f d4e7 95c5 802f 21ce a2c2 87cb 614f 128b b760 531b d7a6 a30b 1c79 b36d eed4 e70c 6e17 cf72 5d77 bafd 85f9 7966 5c22 49ff 97a2 1854 4104 bfb9",
    "cifar10 small": "bdc7 4d00 eea9 8cfe 820b af41 ae63 bfb2 9955 a3ef 6aa0 d11a e613 95e5 ea9f",
    "curvature full": "84cc 5847",
    "figure-11 full": "d0e0 3d12",
    "figure-12 full": "d0e0 3d12",
    "figure-13 full": "d0e0 3d12",
    "figure-14 full": "d0e0 3d12",
    "first-epoch full": "d0e0 3d12",
    "fixed-steps full": "6a4a ab2e f5b0 6608 892d 6a4a 1bbb 7c6a 48e1 213f",
    "fixed-steps small": "c20a 584c d47e c20a 94ff 80ec",
    "nesterov full": "e8d4 9370 802f a2c2 c18b b760 d7a6 56fa eed4",
    "nesterov small": "d4f8 3a7a 53a5 928b 9d2c 1e45",
    "optimizers full": "d44e 8417 d84c 61c5 3a7d",
    "quickstart full": "78a8 34c7 1d5d fbc5 56b6 ec59 51de 3193 060c 41f8 bef0 bb69",
    "smoke full": "2968 80d4 cd15 60eb",
    "steps-to-target full": "a6fd a198 0d3c 893b 1683",
    "steps-to-target small": "4245 cbda e5c4",
}


@pytest.mark.parametrize("study", STORED)
def test_a_built_in_studys_cells_keep_their_configurations(study: str) -> None:
    name, scale = study.split()
    spec = load(name, scale=None if scale == "full" else scale)
    assert isinstance(spec, Spec)
    now = {cell.typical.hash()[:4] for cell in cells(spec)}
    assert set(STORED[study].split()) <= now
