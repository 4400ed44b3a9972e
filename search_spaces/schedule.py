"""The schedule's shape and warm-up, searched with every optimizer alike."""

from search_spaces import Choice, Float, Range


def schedule(epochs: int) -> dict[str, Range]:
    """Warm-up over 0–20 % of the epochs, then one of four shapes."""
    return {
        "schedule/name": Choice(("cosine", "polynomial", "multistep", "constant")),
        "schedule/warmup_epochs": Float(0.0, 0.2 * epochs),
    }
