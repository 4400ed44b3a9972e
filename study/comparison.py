"""Several studies on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.reports import ReportFiles, comparison_reports
from trainables.errors import Refused

if TYPE_CHECKING:
    from study.store import Store


def compared(studies: Sequence[tuple[Path, Store]], out: Path) -> list[ReportFiles]:
    """Write every installed comparison of these studies, each with its directory, into the folder `out`.

    Raises Refused for fewer than two, or one twice.
    """
    paths = [path.resolve() for path, _ in studies]
    if len(paths) < 2:
        raise Refused("DIR", ", ".join(map(str, paths)), "two studies are the fewest to compare", "name another")
    for path, times in Counter(paths).items():
        if times > 1:
            raise Refused("DIR", str(path), "stands twice", "name each study once")
    named = dict(zip(_names(paths, [store.experiment for _, store in studies]), [s for _, s in studies], strict=True))
    return [write(named, out) for write in comparison_reports()]


def _names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Each study's own name where they differ, else its folder's, else the number of its place."""
    for each in (names, [path.name for path in paths]):
        if len(set(each)) == len(each) and not any(sign in name for name in each for sign in "/@~"):
            return list(each)
    return [f"{name} {number}" for number, name in enumerate(names, 1)]
