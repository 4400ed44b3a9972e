"""PercentDelta: γ 5e-4–0.3 at every batch size, for γ is a relative step."""

from search_spaces import Float, Range
from search_spaces.layer_wise import layer_wise


def space(batch_size: int, epochs: int) -> dict[str, Range]:
    return layer_wise(Float(5e-4, 0.3, log=True), batch_size, epochs)
