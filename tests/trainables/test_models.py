import pytest
import torch
from pydantic import ValidationError
from torch import nn

from trainables.errors import Refused
from trainables.models import models
from trainables.models.alexnet import AlexNet, AlexNetSettings
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


def layers(net: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def fans(layer: nn.Conv2d | nn.Linear) -> tuple[int, int]:
    """Inputs and outputs of one weight's neuron."""
    each = layer.weight[0, 0].numel()
    return layer.weight.shape[1] * each, layer.weight.shape[0] * each


VARIANCES = {
    "torch": lambda into, _: 1 / (3 * into),  # uniform in ±1/√fan_in
    "xavier": lambda into, out: 2 / (into + out),
    "kaiming": lambda into, _: 2 / into,
    "kaiming_small_head": lambda into, _: 2 / into,
}


@pytest.mark.parametrize("settings", [AlexNetSettings, ResNet18Settings])
@pytest.mark.parametrize("init", VARIANCES)
def test_every_layer_starts_with_the_variance_of_its_initialisation(settings, init):
    torch.manual_seed(0)
    *body, head = layers(settings(width=0.5, init=init).build(10))
    for layer in body:
        assert layer.weight.var().item() == pytest.approx(VARIANCES[init](*fans(layer)), rel=0.1)
    expected = 0.01**2 if init == "kaiming_small_head" else VARIANCES[init](*fans(head))
    assert head.weight.var().item() == pytest.approx(expected, rel=0.1)
    assert bool(head.bias.any()) == (init == "torch")


def test_a_small_head_starts_near_chance_and_kaimings_does_not():
    images, labels = torch.randn(256, 3, 32, 32), torch.arange(256) % 10
    loss = {}
    for init in VARIANCES:
        torch.manual_seed(0)
        net = AlexNetSettings(width=0.125, dropout=0, init=init).build(10)
        loss[init] = nn.functional.cross_entropy(net(images), labels).item()
    assert loss["torch"] == pytest.approx(2.30, abs=0.01)
    assert loss["xavier"] == pytest.approx(2.30, abs=0.1)
    assert 2.30 <= loss["kaiming_small_head"] < 2.6 < 3 < loss["kaiming"]


def test_alexnets_torch_start_is_what_torch_draws():
    torch.manual_seed(0)
    plain = AlexNet(10, 0.125, 0.0)
    torch.manual_seed(0)
    ours = AlexNetSettings(width=0.125, dropout=0, init="torch").build(10)
    for before, after in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.equal(before, after)


def test_resnet18_starts_as_torchvision_builds_it():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    theirs, ours = resnet18(num_classes=10), ResNet18Settings().build(10)
    for before, after in zip(layers(theirs)[1:], layers(ours)[1:], strict=True):  # the stem is another
        assert after.weight.var().item() == pytest.approx(before.weight.var().item(), rel=0.1)
    assert ResNet18Settings().identity() == {"name": "resnet18", "width": 1.0}


@pytest.mark.parametrize("settings", [AlexNetSettings, ResNet18Settings])
def test_an_unknown_initialisation_is_refused(settings):
    with pytest.raises(ValidationError, match=r"init\n.*'torch', 'xavier', 'kaiming' or 'kaiming_small_head'"):
        settings(init="he")


def test_dropout_is_what_the_settings_say():
    net = AlexNetSettings(dropout=0.3).build(10)
    assert {m.p for m in net.modules() if isinstance(m, nn.Dropout)} == {0.3}


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(Refused, match=r"alexnett.*did you mean 'alexnet'.*known: alexnet, resnet18"):
        models.get("alexnett")
