"""s = (1 - p)^power, You 2017 with power 2."""

from typing import Annotated, Literal

from trainables.schedules import Schedule
from trainables.settings import about


class Polynomial(Schedule):
    """`schedule: {name: polynomial, power: 2}`."""

    name: Literal["polynomial"] = "polynomial"
    power: Annotated[float, about("", "exponent of the decay", gt=0)] = 2.0

    def factor(self, progress: float) -> float:
        return float((1 - progress) ** self.power)
