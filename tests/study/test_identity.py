"""Built-in studies keep their trials: every cell's configuration has the hash that 9bd26f5 gave it."""

from __future__ import annotations

import pytest

from study.plan import cells
from study.spec import Spec, load

# By spec and scale: the first four characters of the hash of each cell's typical configuration, from 9bd26f5. Where a
# spec is changed on purpose, so that its old trials no longer answer its question, take out what no longer holds.
STORED = {
    "attempts full": "5960 76c8 ef92 8582",
    "attempts small": "eeba d6ba ca62 3259",
    "cifar10 full": "e8d4 db2f d4e7 95c5 802f 21ce a2c2 87cb 614f 128b b760 531b d7a6 a30b 1c79 b36d eed4 e70c 6e17 cf72 5d77 bafd 85f9 7966 5c22 49ff 97a2 1854 4104 bfb9",
    "cifar10 small": "bdc7 4d00 eea9 8cfe 820b af41 ae63 bfb2 9955 a3ef 6aa0 d11a e613 95e5 ea9f",
    "curvature full": "84cc 5847",
    "figure-1 full": "b445 76ae 03ba 362d e3f9 7180",
    "figure-1 small": "2d7a 09b0 f266 78c9 760e",
    "figure-10 full": "3c3d e21c fa56 9439",
    "figure-10 small": "4479 3b57 998b e12f",
    "figure-11 full": "d0e0 3d12",
    "figure-11 small": "67d8 fac9",
    "figure-12 full": "d0e0 3d12",
    "figure-12 small": "67d8 fac9",
    "figure-13 full": "d0e0 3d12",
    "figure-13 small": "67d8 fac9",
    "figure-14 full": "d0e0 3d12",
    "figure-14 small": "67d8 fac9",
    "figure-16 full": "a6b0 6947",
    "figure-16 small": "4b3f 3c35",
    "figure-2 full": "c662",
    "figure-2 small": "c552",
    "figure-3 full": "6f04",
    "figure-3 small": "31a0",
    "figure-4 full": "df53 d094 d3cf e441 3411 0531",
    "figure-4 small": "c536 9480 4c91 eac2 76fd e304",
    "figure-5 full": "b445 76ae 03ba 362d e3f9 7180",
    "figure-5 small": "2d7a 09b0 f266 78c9 760e",
    "figure-7 full": "df53 d094 d3cf e441 3411 0531",
    "figure-7 small": "c536 9480 4c91 eac2 76fd e304",
    "figure-8 full": "b445 76ae 03ba 362d e3f9 7180",
    "figure-8 small": "2d7a 09b0 f266 78c9 760e",
    "figure-9 full": "2084",
    "figure-9 small": "591f",
    "first-epoch full": "d0e0 3d12",
    "first-epoch small": "67d8 fac9",
    "fixed-steps full": "6a4a ab2e f5b0 6608 892d 6a4a 1bbb 7c6a 48e1 213f",
    "fixed-steps small": "c20a 584c d47e c20a 94ff 80ec",
    "nesterov full": "e8d4 9370 802f a2c2 c18b b760 d7a6 56fa eed4",
    "nesterov small": "d4f8 3a7a 53a5 928b 9d2c 1e45",
    "optimizers full": "d44e 8417 d84c 61c5 3a7d",
    "quickstart full": "78a8 34c7 1d5d fbc5 56b6 ec59 51de 3193 060c 41f8 bef0 bb69",
    "remedies full": "db92 9957 f002 7546 2fe7 d2ee d678 8fad 0fc2 7777 57f8 02cd 8f26 8aab",
    "remedies small": "cd83 36df 4046 f5c0 e697 bda4 737f 5059 967f ea97 25e3 fc91 9961 d332",
    "section-3.1 full": "5c24 0207 11b3 7788 253f 1e72",
    "section-3.1 small": "eeba 4ec3 508b d4a6 0e41 cc4f",
    "section-4.2 full": "0c26 7033 808f 0418 df91 5559 e647 e6dd 86aa a4ca",
    "section-4.2 small": "39a0 4022 a193 d51c 57fd 5357",
    "section-5.1 full": "df53 d094 d3cf e441 3411 0531",
    "section-5.1 small": "c536 9480 4c91 eac2 76fd e304",
    "section-5.2 full": "78a5 80a4",
    "section-5.2 small": "44ab d663",
    "smoke full": "2968 80d4 cd15 60eb",
    "steps-to-target full": "a6fd a198 0d3c 893b 1683",
    "steps-to-target small": "4245 cbda e5c4",
    "strides full": "df53 d094 d3cf e441 3411 0531",
    "strides small": "c536 9480 4c91 eac2 76fd e304",
    "sweep full": "b445 76ae 03ba 362d e3f9 7180",
    "sweep small": "2d7a 09b0 f266 78c9 760e",
}


@pytest.mark.parametrize("study", STORED)
def test_a_built_in_studys_cells_keep_their_configurations(study: str) -> None:
    name, scale = study.split()
    spec = load(name, scale=None if scale == "full" else scale)
    assert isinstance(spec, Spec)
    now = {cell.typical.hash()[:4] for cell in cells(spec)}
    assert set(STORED[study].split()) <= now
