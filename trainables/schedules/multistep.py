"""s = drop^(milestones passed), He et al. 2016."""

from typing import Annotated, Literal

from trainables.schedules import Schedule
from trainables.settings import about

Share = Annotated[float, about("", "share of the epochs after warm-up", gt=0, lt=1)]


class Multistep(Schedule):
    """`schedule: {name: multistep, milestones: [0.5, 0.75], drop: 0.1}`."""

    name: Literal["multistep"] = "multistep"
    milestones: tuple[Share, ...] = (0.5, 0.75)
    drop: Annotated[float, about("", "factor at each milestone", gt=0, lt=1)] = 0.1

    def factor(self, progress: float) -> float:
        passed = sum(progress >= milestone for milestone in self.milestones)
        return float(self.drop**passed)
