"""s = 1."""

from typing import Literal

from trainables.schedules import Schedule


class Constant(Schedule):
    """`schedule: {name: constant}`."""

    name: Literal["constant"] = "constant"

    def factor(self, progress: float) -> float:
        return 1.0
