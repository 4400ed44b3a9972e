"""LAMB: γ 1e-4–1e-2 at every batch size (You et al. 2019b)."""

from search_spaces import Float, Range
from search_spaces.schedule import schedule


def space(batch_size: int, epochs: int) -> dict[str, Range]:  # noqa: ARG001
    return {
        "optimizer/gamma": Float(1e-4, 1e-2, log=True),
        "optimizer/momentum": Float(5e-3, 0.3, log=True, complement=True),
        "optimizer/beta": Float(1e-5, 1e-2, log=True),
        **schedule(epochs),
    }
