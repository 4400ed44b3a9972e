"""Networks for 32×32 colour images. A plug-in is a settings class whose `build` returns the module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.plugins import Registry
from trainables.settings import Settings

if TYPE_CHECKING:
    from torch import nn


class Model(Settings):
    """A network plug-in."""

    name: str

    def build(self, classes: int) -> nn.Module:
        """A freshly initialised network, (n, 3, 32, 32) float → (n, classes) logits."""
        raise NotImplementedError


models: Registry[type[Model]] = Registry("trainables.models")
