"""AlexNet for 32×32 images: torchvision's channel plan, three fully connected layers."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from trainables.models import Model
from trainables.models.initialisation import Initialisation, initialise
from trainables.settings import Dropout, Width, about


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers, (n, 3, 32, 32) → (n, classes).

    Channels 64, 192, 384, 256, 256 and 4096, 4096 as in torchvision, times `width`; kernels and strides shrink
    with the image (32 → 16 → 8 → 4 → 2). About 23 M parameters at width 1 and 10 classes.
    """

    def __init__(self, classes: int, width: float, dropout: float) -> None:
        super().__init__()
        a, b, c, d, e, hidden = (max(1, round(width * n)) for n in (64, 192, 384, 256, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
            nn.Conv2d(d, e, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(e * 4, hidden), nn.ReLU(),
            nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class AlexNetSettings(Model):
    """`model: {name: alexnet, width: …, dropout: …, init: …}`; `init: torch` is a PyTorch user's start."""

    name: Literal["alexnet"] = "alexnet"
    width: Width = 1.0
    dropout: Dropout = 0.5
    init: Annotated[Initialisation, about("", "how the weights start")] = "kaiming"

    def build(self, classes: int) -> AlexNet:
        net = AlexNet(classes, self.width, self.dropout)
        if self.init != "torch":  # torch has drawn its own already
            initialise(net, self.init)
        return net
