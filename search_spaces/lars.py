"""LARS: γ 1e-3–1e-1 at every batch size, for γ is a relative step."""

from search_spaces import Float, Range
from search_spaces.layer_wise import layer_wise


def space(batch_size: int, epochs: int) -> dict[str, Range]:
    return layer_wise(Float(1e-3, 1e-1, log=True), batch_size, epochs)
