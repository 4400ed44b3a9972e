"""CBLR: γ 1e-6–1e-2 at every batch size, for γ is a multiple of Newton's step and R is capped at 100.

Found on AlexNet (width 0.125, no dropout) and digits, batch size 64, 8 epochs, a factor of ten apart. Validation
accuracy at γ = 1e-5, 1e-4, 1e-3: Hutchinson 0.35, 0.88, 0.96; every step with ema 0.99 0.34, 0.88, 0.95;
Gauss–Newton–Bartlett 0.90, 0.97, 0.96; layer-wise 0.81, 0.93, 0.95. At 1e-2 all but the layer-wise diverged.
With r_max = 10 it was 0.25, 0.81, 0.96, and 0.97 at 1e-2: what counts is γ·r_max, the rate of flat directions.
"""

from search_spaces import Float, Range
from search_spaces.layer_wise import layer_wise


def space(batch_size: int, epochs: int) -> dict[str, Range]:
    return layer_wise(Float(1e-6, 1e-2, log=True), batch_size, epochs)
