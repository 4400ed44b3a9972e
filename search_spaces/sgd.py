"""Momentum SGD: lr 2e-2–5 and 1 - m 5e-3–0.3 (Nado et al. 2021, batch 32k with batch norm).

lr falls linearly below batch size 4096, and always reaches down to 1e-3: AlexNet, which has no batch norm, left
the stable range above 0.03 at every batch size tried (digits, 16 to 256).
"""

from search_spaces import Float, Range, scaled
from search_spaces.schedule import schedule


def space(batch_size: int, epochs: int) -> dict[str, Range]:
    usual = scaled(2e-2, 5.0, batch_size, full_at=4096)
    return {
        "optimizer/lr": Float(min(usual.low, 1e-3), usual.high, log=True),
        "optimizer/momentum": Float(5e-3, 0.3, log=True, complement=True),
        "optimizer/beta": Float(1e-5, 1e-2, log=True),
        **schedule(epochs),
    }
