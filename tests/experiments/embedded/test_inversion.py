"""Decoders that paint a picture again from an encoder's maps, and the figure that they give."""

import pytest
import torch

from experiments.embedded.gallery import Gallery
from experiments.embedded.inversion import LAYERS, Decoders, measure_inversion
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk

SLIM = VGGConfig(widths=(4, 6, 8, 10, 4), padding="reflect", pooling="mean")


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    """Smooth coloured pictures, none of them painted."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 6, 6, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(256, 256), mode="bicubic").clamp(0, 1).mul(255).byte()
    return Gallery(images, torch.full((8,), -1), ("",) * 8, torch.arange(8), (), ())


def encoder() -> VGGEncoder:
    torch.manual_seed(0)
    return VGGEncoder(VGGTrunk(SLIM), "random")


def test_decoders_start_as_one_grey_of_the_pictures_size() -> None:
    net = encoder()
    maps = net(torch.rand(2, 3, 48, 32), LAYERS)
    for painted in Decoders(net.channels)(maps).values():
        assert painted.shape == (2, 3, 48, 32)
        torch.testing.assert_close(painted, torch.full_like(painted, 0.45))


def test_a_lost_tone_costs_three_times_a_lost_detail() -> None:
    net = encoder()
    maps, decoders = net(torch.rand(1, 3, 32, 32), LAYERS), Decoders(net.channels)
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    detail = decoders.loss(maps, 0.45 + 0.1 * board.expand(1, 3, 32, 32))
    tone = decoders.loss(maps, torch.full((1, 3, 32, 32), 0.55))
    assert detail.item() == pytest.approx(0.01 / 0.06, rel=1e-4)
    assert tone.item() == pytest.approx(3 * detail.item(), rel=1e-4)


def handing_on(share: float) -> VGGEncoder:
    """Return an encoder whose every layer holds nothing but the picture, at this share of its strength."""
    net = encoder()
    with torch.no_grad():
        for name, conv in net.trunk.convs.items():
            torch.nn.init.dirac_(conv.weight)
            torch.nn.init.constant_(conv.bias, 0.1)
            if name == "1_1":
                conv.weight[:3] *= share * net.trunk.std.view(3, 1, 1, 1)
                conv.bias[:3] += share * net.trunk.mean.flatten()
    return net


def test_the_figure_is_high_for_an_encoder_that_sees_and_low_for_one_that_is_blind(gallery: Gallery) -> None:
    seeing = measure_inversion(handing_on(1), gallery, gallery, seed=0, steps=30)
    assert list(seeing) == [f"inversion_{layer}{kind}" for layer in LAYERS for kind in ("", "_blocks")]
    blind = measure_inversion(handing_on(0), gallery, gallery, seed=0, steps=30)
    for name, value in seeing.items():
        assert value > blind[name] + 2, name


def test_the_figure_is_the_same_each_time_and_leaves_the_callers_chance_alone(gallery: Gallery) -> None:
    net = encoder()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = measure_inversion(net, gallery, gallery, seed=0, steps=2)
    assert torch.equal(torch.rand(1), expected)
    assert measure_inversion(net, gallery, gallery, seed=0, steps=2) == first
