"""torch's fused SGD and AdamW kernels on one CPU tensor: the same sums in one pass over memory instead of many.

They are private names of torch, so `fits` is the door: where a kernel is absent, or would be wrong, callers take
their plain path, which stays the reference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainables.optimizers.memory import side_by_side

_sgd: Any = getattr(torch, "_fused_sgd_", None)
_adamw: Any = getattr(torch, "_fused_adamw_", None)
ENABLED = _sgd is not None and _adamw is not None
# The kernel computes 1 - (1 - rate) in double, which below this rate is no longer the rate to float32's precision.
LEAST_RATE = 1e-8
# The kernel adds g + βw before it scales the sum, so that entries beyond this size could overflow.
LARGEST = 1e30


def fits(*tensors: Tensor, rate: Any = 1.0, reach: float = 0.0) -> bool:
    """Whether a kernel is right for a weight, its gradient and its buffers: it walks all memory side by side."""
    return (
        ENABLED
        and all(x.dtype == torch.float32 and x.device.type == "cpu" for x in tensors)
        and side_by_side(*tensors)
        and LEAST_RATE <= rate < math.inf
        and reach < LARGEST
    )


def move(w: Tensor, v: Tensor, g: Tensor, momentum: float, beta: float, rate: float) -> None:
    """v ← m v + rate (g + βw); w ← w - v: SGD at rate 1 whose dampening is 1 - rate."""
    _sgd([w], [g], [v], weight_decay=beta, momentum=momentum, lr=1.0, dampening=1 - rate, nesterov=False,
         maximize=False, is_first_step=False)  # fmt: skip


def adam(
    u: Tensor, w: Tensor, mean: Tensor, square: Tensor, g: Tensor, options: Mapping[str, Any], step: int
) -> Tensor:
    """Moves the means of g and g²; writes m̂/(√v̂ + ε) + βw to u and returns it.

    That is AdamW's step at rate -1: from 0, or from w with a decay that leaves β of it.
    """
    beta = options["weight_decay"]
    if beta:
        u.copy_(w)
    else:
        u.zero_()
    decays = {"beta1": options["momentum"], "beta2": options["beta2"], "weight_decay": beta - 1, "eps": options["eps"]}
    steps = [torch.tensor(float(step))]
    _adamw([u], [g], [mean], [square], [], steps, lr=-1.0, **decays, amsgrad=False, maximize=False)
    return u
