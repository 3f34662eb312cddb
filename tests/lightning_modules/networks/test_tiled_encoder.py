import pytest
import torch
from torch import nn

from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.networks.tiled_encoder import encode_in_tiles, shallow_map
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk, stride_of

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "conv4_2", "relu5_1")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    trunk = VGGTrunk(VGGConfig(widths=(4, 6, 8, 12, 12), padding="reflect", ceil_mode=True))
    for conv in trunk.convs.values():  # torch's own start leaves next to nothing of the picture at relu4_1
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return VGGEncoder(trunk, "random").double()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 128, 176, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tile", [16, 48, 80, 4096])
def test_tiles_give_the_maps_of_one_pass(encoder, images, tile):
    whole, tiled = encoder(images, LAYERS), encode_in_tiles(encoder, images, LAYERS, tile=tile)
    for layer in LAYERS:
        assert torch.allclose(tiled[layer], whole[layer], atol=1e-12), layer


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_sees_as_far_as_it_is_said_to(encoder, layer):
    # A pixel at the edge of what a position of the middle sees changes it; the next one does not.
    stride, reach = stride_of(layer), encoder.trunk.config.reach(layer)
    middle = 256 // stride // 2
    start = middle * stride
    images = torch.rand(1, 3, 32, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before = encoder(images, (layer,))[layer][..., middle]
    seen = [
        _changed(encoder, images, layer, column, before, middle)
        for column in (start - reach - 1, start - reach, start + stride - 1 + reach, start + stride + reach)
    ]
    assert not seen[0]
    assert not seen[3]
    assert stride > 1 or (seen[1] and seen[2])  # through many rectifiers little may be left of the last pixel


def _changed(encoder, images, layer, column, before, middle):
    other = images.clone()
    other[..., column] += 5
    return not torch.equal(encoder(other, (layer,))[layer][..., middle], before)


def test_a_halo_one_too_small_shows(encoder, images, monkeypatch):
    monkeypatch.setattr(VGGConfig, "reach", lambda *_: 16)
    whole, tiled = encoder(images, LAYERS), encode_in_tiles(encoder, images, LAYERS, tile=48)
    assert not torch.allclose(tiled["relu5_1"], whole["relu5_1"], atol=1e-9)


@pytest.mark.parametrize("layer", LAYERS[:2])
def test_a_shallow_map_is_the_encoders_wherever_it_is_looked_at(encoder, images, layer):
    whole = encoder(images, (layer,))[layer]
    found = shallow_map(encoder, images, layer, tile=64)
    assert found.maps.shape == tuple(whole.shape)
    rows, columns = whole.shape[-2:]
    for window in ((0, rows, 0, columns), (3, 4, 7, 8), (0, 5, columns - 9, columns)):
        top, bottom, left, right = window
        assert torch.allclose(found.maps.part(window), whole[..., top:bottom, left:right], atol=1e-12)
    for one, other in zip(found.statistics, channel_statistics(whole), strict=True):
        assert torch.allclose(one, other, atol=1e-12)
