"""What the training loop and its probes may ask of an optimizer beyond torch's contract.

An optimizer has the method or has not, and `isinstance(optimizer, HasGuards)` tells: no base class is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer


@runtime_checkable
class RunsBackward(Protocol):
    """An optimizer that needs more than the gradient, and therefore runs the backward pass itself."""

    def backward(self, loss: Tensor, logits: Tensor | None = None, weights: Tensor | None = None) -> None:
        """Adds the gradient of `loss` to `p.grad` of its parameters, in place of `loss.backward()`.

        Arguments:
            loss: a scalar with its graph, which is freed.
            logits: (n, classes), what the loss was made of.
            weights: (n,), what each sample weighs in the loss; None: 1/n, as in a mean.
        """


@runtime_checkable
class HasGuards(Protocol):
    """An optimizer that counts how often its guards changed a step."""

    def guards(self, *, reset: bool = False) -> Mapping[str, Mapping[str, int]]:
        """Steps in which each guard fired since the last reset: guard → tensor's name → count."""


@runtime_checkable
class HasRadii(Protocol):
    """An optimizer with one radius of curvature for each tensor."""

    def radii(self) -> Mapping[str, float]:
        """Tensor's name → its radius in the last step, in weight²/loss."""


def name_parameters(optimizer: Optimizer, model: nn.Module) -> None:
    """Gives the optimizer's param groups the model's names, where they have none, under torch's key `param_names`.

    As if the optimizer had been made of `model.named_parameters()`, which not every plug-in takes. A parameter that is
    not the model's is named by its place, as in `parameter_names`.
    """
    of_model = {parameter: name for name, parameter in model.named_parameters()}
    for index, group in enumerate(optimizer.param_groups):
        places = zip(group["params"], _places(index, group), strict=True)
        group.setdefault("param_names", [of_model.get(p, place) for p, place in places])


def parameter_names(optimizer: Optimizer) -> dict[Tensor, str]:
    """The name of each parameter: as given, else by its place, "0.3" for the fourth tensor of the first group."""
    names: dict[Tensor, str] = {}
    for index, group in enumerate(optimizer.param_groups):
        given = group.get("param_names", [])
        if len(given) != len(group["params"]):  # a wrapper took some of the tensors and left the names
            given = _places(index, group)
        names |= zip(group["params"], given, strict=True)
    return names


def _places(index: int, group: dict[str, Any]) -> list[str]:
    return [f"{index}.{place}" for place in range(len(group["params"]))]
