"""s rises from 1/`start_div` to 1 and falls to 1/`end_div`, both along a half cosine, Smith & Topin 2017."""

from math import cos, pi
from typing import Annotated, Literal

from trainables.schedules import Schedule
from trainables.settings import about


class OneCycle(Schedule):
    """`schedule: {name: one_cycle, rise: 0.3, start_div: 25, end_div: 10000}`."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[float, about("", "share of the cycle spent rising", gt=0, lt=1)] = 0.3
    start_div: Annotated[float, about("", "full rate over the first rate", ge=1)] = 25.0
    end_div: Annotated[float, about("", "full rate over the last rate", ge=1)] = 1e4

    def factor(self, progress: float) -> float:
        if progress < self.rise:
            low, share = 1 / self.start_div, 1 - progress / self.rise
        else:
            low, share = 1 / self.end_div, (progress - self.rise) / (1 - self.rise)
        return low + (1 - low) * 0.5 * (1 + cos(pi * share))
