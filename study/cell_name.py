"""How cells are named: `sgd/32`, in another reading `sgd@kaiming/32`, and a first further search of one `sgd~1/32`.

No arm and no reading has a `/`, `@` or `~` in its name (`study.spec.Name`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from trainables.errors import Refused

RECORD = "record"  # what the spec itself states: the reading of record
_FORM = re.compile(r"(?P<arm>[^/@~]+)(~(?P<repeat>[1-9]\d*))?(@(?P<reading>[^/@~]+))?/(?P<size>[1-9]\d*)")


@dataclass(frozen=True)
class CellName:
    """An arm at a batch size (images) in a reading; a `repeat` above 0 is a further, independent search of it."""

    arm: str
    batch_size: int
    reading: str = RECORD
    repeat: int = 0

    def __str__(self) -> str:
        repeat = f"~{self.repeat}" if self.repeat else ""
        reading = "" if self.reading == RECORD else f"@{self.reading}"
        return f"{self.arm}{repeat}{reading}/{self.batch_size}"

    @classmethod
    def parse(cls, text: str) -> CellName:
        """The inverse of `str`. Raises Refused for what names no cell."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise Refused("cells", text, "a cell is named ARM/BATCH_SIZE", "name it like 'sgd/32' or 'sgd@kaiming/32'")
        return cls(found["arm"], int(found["size"]), found["reading"] or RECORD, int(found["repeat"] or 0))

    @property
    def home(self) -> CellName:
        """The cell that this one searches again; itself where it is no repeat."""
        return replace(self, repeat=0)
