import pytest
import torch
from torch import nn

from trainables.errors import Refused
from trainables.models import models
from trainables.models.alexnet import AlexNetSettings
from trainables.models.resnet18 import ResNet18Settings


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_alexnet_at_full_width_has_23_million_parameters():
    assert size(AlexNetSettings().build(10)) == pytest.approx(23e6, rel=0.02)


def test_alexnet_keeps_torchvisions_channel_plan_and_three_linear_layers():
    net = AlexNetSettings().build(10)
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == [64, 192, 384, 256, 256]
    assert [m.out_features for m in net.modules() if isinstance(m, nn.Linear)] == [4096, 4096, 10]


def test_resnet18_at_full_width_has_torchvisions_parameters_but_for_the_stem():
    from torchvision.models import resnet18

    stem = 3 * 64 * (7 * 7 - 3 * 3)
    assert size(ResNet18Settings().build(10)) == size(resnet18(num_classes=10)) - stem


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("width", [0.05, 0.3])
def test_every_model_maps_images_to_logits_and_shrinks_with_width(name, width):
    net = models.get(name)(name=name, width=width).build(7)
    assert net(torch.randn(4, 3, 32, 32)).shape == (4, 7)
    assert size(net) < size(models.get(name)(name=name, width=2 * width).build(7))


def test_resnet_sees_the_whole_image_in_its_first_stage():
    net = ResNet18Settings(width=0.1).build(10)
    seen = []
    net.layer1.register_forward_hook(lambda *call: seen.append(call[2].shape[-2:]))
    net(torch.randn(2, 3, 32, 32))
    assert seen == [(32, 32)]


def test_kaiming_gives_relu_layers_their_variance_and_zero_biases():
    torch.manual_seed(0)
    layer = AlexNetSettings(width=0.5).build(10).classifier[4]
    assert layer.weight.var().item() == pytest.approx(2 / layer.in_features, rel=0.02)
    assert not layer.bias.any()


def test_dropout_is_what_the_settings_say():
    net = AlexNetSettings(dropout=0.3).build(10)
    assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {0.3}


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(Refused, match=r"alexnett.*did you mean 'alexnet'.*known: alexnet, resnet18"):
        models.get("alexnett")
