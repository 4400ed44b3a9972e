"""A smaller first-epoch batch (paper, section 3.2)."""

from __future__ import annotations

from trainables.settings import BatchSize, Rate
from trainables.tricks import Trick


class FirstEpoch(Trick):
    """`trick: {first_epoch: {batch_size: 512, lr: 0.005}}`: both hold in epoch 1, the usual ones after it.

    `lr` is the rate as the optimizer names it (γ of a layer-wise rule), whatever the schedule says. Excluded tensors'
    rate is divided by as much: the trick slows the whole net down, as the paper's tenfold smaller rate does.
    """

    batch_size: BatchSize
    lr: Rate

    def resize(self, epoch: int, n: int, images: int) -> int:
        return self.batch_size if epoch == 1 else n

    def rerate(self, epoch: int, rate: float) -> float:
        return self.lr if epoch == 1 else rate
