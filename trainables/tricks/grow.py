"""A batch size that grows instead of a rate that decays (Smith et al. 2018)."""

from __future__ import annotations

import math
from typing import Annotated

from trainables.settings import Epochs, about
from trainables.tricks import Trick


class Grow(Trick):
    """`trick: {grow: {factor: 2, every: 10}}`: n · factor^⌊(epoch-1)/every⌋, rounded; never above the training split.

    The rate stays as the schedule has it.
    """

    factor: Annotated[float, about("", "what the batch size is multiplied by", source="Smith 2018", gt=1)]
    every: Annotated[Epochs, about("", "epochs from one growth to the next", unit="epoch")]

    def resize(self, epoch: int, n: int, images: int) -> int:
        if n >= images:
            return n
        enough = math.ceil(math.log(images / n) / math.log(self.factor))  # growths that reach the whole split
        return min(images, round(n * self.factor ** min((epoch - 1) // self.every, enough)))
