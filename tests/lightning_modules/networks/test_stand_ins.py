"""The stand-ins: taps and lengths of the networks whose places they take."""

import pytest
import torch

from lightning_modules.networks.stand_ins import InceptionStandIn, StyleStandIn
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk


@pytest.fixture(scope="module")
def encoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VGGEncoder(VGGTrunk(VGGConfig(widths=(4, 6, 8, 10, 12), padding="reflect")), "embedded")


def test_taps_are_those_layers(encoder):
    stand_in = InceptionStandIn(encoder)
    images = torch.rand(2, 3, 33, 47)
    features = stand_in(2 * images - 1, ["pool3", "conv2d_2b", "conv2d_4a"])
    maps = encoder(images, ["relu1_2", "relu2_2", "relu4_1", "relu5_1"])
    assert stand_in.source == "embedded"
    assert stand_in.channels == {"conv2d_2b": 4, "conv2d_4a": 6, "pool3": 22}
    torch.testing.assert_close(features["conv2d_2b"], maps["relu1_2"])
    torch.testing.assert_close(features["conv2d_4a"], maps["relu2_2"])
    torch.testing.assert_close(features["pool3"][:, 10:], maps["relu5_1"].mean((2, 3)))
    for tap, side in stand_in.smallest.items():
        assert stand_in(torch.zeros(1, 3, side, side), [tap])[tap].isfinite().all()


def test_style_vectors_have_unit_length_and_ignore_position(encoder):
    stand_in = StyleStandIn(encoder)
    images = torch.rand(2, 3, 32, 32)
    vectors = stand_in(torch.cat([images, images.flip(-1)]))
    assert vectors.shape == (4, stand_in.embed_dim)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    assert float((vectors[:2] * vectors[2:]).sum(1).min()) > 0.99
