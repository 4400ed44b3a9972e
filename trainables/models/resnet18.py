"""ResNet18 for 32×32 images: torchvision's, with a 3×3 stem and no first pooling."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from trainables.models import Model
from trainables.models.initialisation import Initialisation, initialise
from trainables.settings import Width, about


class ScaledResNet(ResNet):  # type: ignore[misc]
    """torchvision's ResNet of basic blocks with every stage's channels times `width`."""

    def __init__(self, classes: int, width: float) -> None:
        self._width = width
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=classes)
        stem = self.layer1[0].conv1.in_channels
        self.conv1 = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.maxpool = nn.Identity()
        self.fc = nn.Linear(self.layer4[-1].conv2.out_channels, classes)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")

    def _make_layer(
        self, block: type[BasicBlock], planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        scaled = max(1, round(planes * self._width))
        if planes == 64:
            self.inplanes = scaled
        layer: nn.Sequential = super()._make_layer(block, scaled, blocks, stride, dilate)
        return layer


class ResNet18Settings(Model):
    """`model: {name: resnet18, width: …, init: …}`.

    `torchvision` leaves the net as torchvision builds it: convolutions He-normal by fan_out, the linear layer PyTorch's
    default.
    """

    name: Literal["resnet18"] = "resnet18"
    width: Width = 1.0
    init: Annotated[
        Literal["torchvision", Initialisation], about("", "how the weights start", introduced="torchvision")
    ] = "torchvision"

    def build(self, classes: int) -> nn.Module:
        net = ScaledResNet(classes, self.width)
        if self.init != "torchvision":
            initialise(net, self.init)
        return net
