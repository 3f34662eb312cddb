"""The VGG encoders: layers, shapes, normalisation, frozenness, and gradients through them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.vgg import (
    VGG16_HED,
    VGG19,
    VGG19_NORMALISED,
    PerceptualDistance,
    VGGConfig,
    VGGEncoder,
    VGGTrunk,
)

SLIM = VGGConfig(widths=(4, 6, 8, 10, 12), padding="reflect")
ALL_LAYERS = [f"{kind}{block}_{index}" for block, n in enumerate((2, 2, 4, 4, 4), 1) for index in range(1, n + 1)
              for kind in ("conv", "relu")]  # fmt: skip


@pytest.fixture
def encoder() -> VGGEncoder:
    torch.manual_seed(0)
    return VGGEncoder(VGGTrunk(SLIM), "random")


def test_every_layer_of_vgg19_has_its_name_width_and_size(encoder: VGGEncoder) -> None:
    assert sorted(encoder.channels) == sorted(ALL_LAYERS)
    maps = encoder(torch.rand(2, 3, 48, 32), ALL_LAYERS)
    assert list(maps) == ALL_LAYERS
    for name, value in maps.items():
        block = int(name[4])
        step = 2 ** (block - 1)
        assert value.shape == (2, SLIM.widths[block - 1], 48 // step, 32 // step), name
        assert encoder.channels[name] == value.shape[1]
        assert name.startswith("conv") or float(value.min()) >= 0


def test_full_shapes() -> None:
    assert [name for name, _ in VGG19.layers()][-1] == "5_4"
    assert [name for name, _ in VGG16_HED.layers()][-1] == "5_3"
    assert sum(VGG19.convs) == 16
    assert VGGTrunk(VGG19_NORMALISED).colour is not None


def test_relu_is_the_rectified_conv_even_when_both_are_asked_for(encoder: VGGEncoder) -> None:
    maps = encoder(torch.rand(1, 3, 32, 32), ["relu2_1", "conv2_1"])
    torch.testing.assert_close(maps["relu2_1"], maps["conv2_1"].relu())


def test_the_pass_stops_at_the_deepest_layer(encoder: VGGEncoder) -> None:
    calls: list[str] = []
    for name, conv in encoder.trunk.convs.items():
        conv.register_forward_hook(lambda *_, name=name: calls.append(name))
    encoder(torch.rand(1, 3, 16, 16), ["relu1_1", "conv2_1"])
    assert calls == ["1_1", "1_2", "2_1"]


def test_weights_lie_as_the_maps_of_their_device_do(encoder: VGGEncoder) -> None:
    trunk = VGGTrunk(SLIM)
    trunk.load_state_dict(encoder.trunk.state_dict())
    for moved in (encoder.trunk, trunk, trunk.double()):
        for conv in moved.convs.values():
            assert conv.weight.is_contiguous(memory_format=torch.channels_last)
            assert conv.in_channels == 3 or not conv.weight.is_contiguous()


def test_what_is_rectified_in_place_was_not_asked_for(encoder: VGGEncoder) -> None:
    images = torch.rand(1, 3, 32, 32)
    every = encoder(images, ALL_LAYERS)
    assert float(every["conv3_2"].min()) < 0
    for layer in ("relu1_1", "conv2_1", "conv3_2", "relu5_1"):
        assert torch.equal(encoder(images, [layer])[layer], every[layer])


def test_an_unknown_layer_is_named(encoder: VGGEncoder) -> None:
    with pytest.raises(ValueError, match="no layer 'relu6_1'"):
        encoder(torch.rand(1, 3, 16, 16), ["relu6_1"])


@pytest.mark.parametrize("config", [VGG19, VGG16_HED], ids=["imagenet", "caffe"])
def test_normalisation_happens_inside(config: VGGConfig) -> None:
    trunk = VGGTrunk(config)
    first = trunk.convs["1_1"]
    assert isinstance(first, nn.Conv2d)
    images = torch.rand(1, 3, 16, 16)
    seen: list[Tensor] = []
    first.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    VGGEncoder(trunk, "random")(images, ["conv1_1"])
    if config.bgr:
        mean = torch.tensor([104.00699, 116.66877, 122.67892]).view(1, 3, 1, 1)
        expected = images.flip(1) * 255 - mean
    else:
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        expected = (images - mean) / std
    torch.testing.assert_close(seen[0], expected, atol=1e-4, rtol=1e-5)


def test_ceil_mode_keeps_the_odd_last_row() -> None:
    config = VGGConfig(convs=(1, 1), widths=(2, 2), ceil_mode=True)
    maps = VGGEncoder(VGGTrunk(config), "random")(torch.rand(1, 3, 5, 7), ["relu2_1"])
    assert maps["relu2_1"].shape[-2:] == (3, 4)


def test_reflection_survives_a_single_pixel(encoder: VGGEncoder) -> None:
    assert encoder(torch.rand(1, 3, 16, 16), ["relu5_1"])["relu5_1"].shape[-2:] == (1, 1)


def test_it_stays_frozen_but_lets_gradients_through(encoder: VGGEncoder) -> None:
    nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    encoder(images, ["relu3_1"])["relu3_1"].sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_perceptual_distance_is_a_distance(encoder: VGGEncoder) -> None:
    distance = PerceptualDistance(encoder)
    a, b = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(distance(a, a), torch.zeros(2))
    torch.testing.assert_close(distance(a, b), distance(b, a))
    assert bool(((distance(a, b) > 0) & (distance(a, b) <= 2)).all())


def test_the_colour_convolution_folds_into_the_first_layer():
    torch.manual_seed(0)
    trunk = VGGTrunk(VGGConfig(widths=(4, 6, 8, 8, 8), padding="reflect", colour_conv=True)).double()
    images = torch.rand(2, 3, 33, 40, dtype=torch.float64)
    with torch.no_grad():
        before = trunk(images, ["relu1_1", "relu3_1"])
        trunk.fold_colour()
        after = trunk(images, ["relu1_1", "relu3_1"])
    assert trunk.colour is None
    assert all(torch.allclose(after[name], before[name], atol=1e-12) for name in before)


def test_a_pool_takes_the_loudest_of_four_or_their_mean() -> None:
    torch.manual_seed(0)
    loudest = VGGTrunk(SLIM)
    means = VGGTrunk(replace(SLIM, pooling="mean"))
    means.load_state_dict(loudest.state_dict())
    images, name = torch.rand(1, 3, 16, 16), ["relu1_2", "conv2_1"]
    for trunk, pool in ((loudest, F.max_pool2d), (means, F.avg_pool2d)):
        below, above = trunk(images, name).values()
        again = trunk.convs["2_1"](F.pad(pool(below, 2), (1, 1, 1, 1), mode="reflect"))
        torch.testing.assert_close(above, again)
