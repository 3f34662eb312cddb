import pytest
import torch
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.dinov2 import DINOv2
from metrics.extractors import DINOv2Features, fingerprint


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    found = DINOv2(width=64, depth=8, grid=4, source="dinov2s_imgfocus")
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return found


def test_means_and_deviations_of_three_blocks_each_of_unit_length(network):
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    found = DINOv2Features(network)(images, ("style",))["style"]
    tokens = network(images, (3, 5, 7))
    parts = []
    for block in (3, 5, 7):
        mean = tokens[block].mean(1)
        spread = (tokens[block] - mean[:, None]).square().mean(1).sqrt()
        parts += [part / part.square().sum(1, keepdim=True).sqrt() for part in (mean, spread)]
    torch.testing.assert_close(found, torch.cat(parts, 1))


def test_pictures_of_any_size_are_brought_to_one(network):
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    features = DINOv2Features(network, 48)
    smaller = F.interpolate(images, (48, 64), mode="bicubic", antialias=True).clamp(0, 1)[..., 8:56]
    expected = DINOv2Features(network)(smaller, ("style",))["style"]
    torch.testing.assert_close(features(images, ("style",))["style"], expected)
    assert fingerprint(features) != fingerprint(DINOv2Features(network))


def test_there_is_one_tap(network):
    with pytest.raises(ImpastoError, match="asked for were pool3"):
        DINOv2Features(network)(torch.rand(1, 3, 32, 32), ("pool3",))
