"""s = ½ (1 + cos πp), Loshchilov & Hutter 2017."""

from math import cos, pi
from typing import Literal

from trainables.schedules import Schedule


class Cosine(Schedule):
    """`schedule: {name: cosine}`."""

    name: Literal["cosine"] = "cosine"

    def factor(self, progress: float) -> float:
        return 0.5 * (1 + cos(pi * progress))
