"""How a network's weights start. Large-batch claims can depend on nothing else: see `study/specs/setting/paper.yaml`.

Convolutions and linear layers alone are drawn; norm layers start at 1 and 0 under every name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

Initialisation = Literal["torch", "xavier", "kaiming", "kaiming_small_head"]
HEAD_DEVIATION = 0.01  # of the last layer's weights, as in Krizhevsky et al. 2012


def torch(layer: nn.Conv2d | nn.Linear) -> None:
    """PyTorch's default: uniform in ±1/√fan_in, weights and biases alike."""
    layer.reset_parameters()


def xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Glorot & Bengio 2010: uniform, of variance 2/(fan_in + fan_out); biases 0."""
    nn.init.xavier_uniform_(layer.weight)
    _no_bias(layer)


def kaiming(layer: nn.Conv2d | nn.Linear) -> None:
    """He et al. 2015, for ReLU: normal, of variance 2/fan_in, in the last layer too; biases 0."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    _no_bias(layer)


def _no_bias(layer: nn.Conv2d | nn.Linear) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


DRAWS: dict[str, Callable[[nn.Conv2d | nn.Linear], None]] = {
    "torch": torch,
    "xavier": xavier,
    "kaiming": kaiming,
    "kaiming_small_head": kaiming,
}


def initialise(net: nn.Module, name: Initialisation) -> None:
    """Draw every convolution and linear layer of `net` anew, in the order of its modules.

    `kaiming_small_head` is Kaiming's but for the last layer, whose weights are N(0, 0.01²): the first logits are then
    near 0, where Kaiming's own name one random class for every image.
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        DRAWS[name](layer)
    if name == "kaiming_small_head":
        nn.init.normal_(layers[-1].weight, std=HEAD_DEVIATION)
