"""A smaller first-epoch batch (paper, section 3.2)."""

from __future__ import annotations

from trainables.settings import BatchSize, Rate
from trainables.tricks import Trick


class FirstEpoch(Trick):
    """`trick: {first_epoch: {batch_size: 512, lr: 0.005}}`: both hold in epoch 1, the usual ones after it."""

    batch_size: BatchSize
    lr: Rate

    def resize(self, epoch: int, n: int, images: int) -> int:  # noqa: ARG002
        return self.batch_size if epoch == 1 else n

    def rerate(self, epoch: int, rate: float) -> float:
        return self.lr if epoch == 1 else rate
