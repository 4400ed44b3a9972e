"""What every layer-wise rule searches beside its own γ."""

from search_spaces import Float, Range, scaled
from search_spaces.schedule import schedule


def layer_wise(gamma: Float, batch_size: int, epochs: int) -> dict[str, Range]:
    """γ in `gamma`; the excluded tensors' rate falls linearly below batch size 4096, as SGD's does."""
    return {
        "optimizer/gamma": gamma,
        "optimizer/momentum": Float(5e-3, 0.3, log=True, complement=True),
        "optimizer/beta": Float(1e-5, 1e-2, log=True),
        "optimizer/excluded_lr": scaled(1e-3, 1.0, batch_size, full_at=4096),
        **schedule(epochs),
    }
