"""CBLR: γ 1e-4–1e-1."""

from search_spaces import Float, Range
from search_spaces.layer_wise import layer_wise


def space(batch_size: int, epochs: int) -> dict[str, Range]:
    return layer_wise(Float(1e-4, 1e-1, log=True), batch_size, epochs)
