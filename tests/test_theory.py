"""docs/theory.md is true: its code runs, and the files, probes, specs and links that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from study.sources import builtin
from trainables.probes import probes

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "theory.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_code_runs(block):
    exec(compile(block, "docs/theory.md", "exec"), {})


def test_what_it_names_is_there():
    files = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", TEXT))
    assert len(files) >= 10
    assert all((ROOT / file).is_file() for file in files)
    named = set(re.findall(r"\| `([a-z_]+)` \|", TEXT))
    assert named == {"gradient_law", "stride", "loss_stride", "distance"}
    assert all(name in probes for name in named)
    assert set(re.findall(r"`study run ([a-z-]+)`", TEXT)) <= set(builtin())
    assert all((ROOT / "docs" / link).is_file() for link in re.findall(r"\]\(([^)#]+)\)", TEXT))
