"""The decoders in tiles: what they paint of a picture at once, also where layers normalise."""

import pytest
import torch
from torch import nn

from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.networks import mirrored_decoder
from lightning_modules.networks.mirrored_decoder import SHALLOW, Decoder, TexturedDecoder
from lightning_modules.networks.tiled_encoder import shallow_map
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk

CHANNELS = (4, 6, 8, 12)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    trunk = VGGTrunk(VGGConfig(widths=(*CHANNELS, 12), padding="reflect", ceil_mode=True))
    for conv in trunk.convs.values():  # torch's own start leaves next to nothing of the picture at relu4_1
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return VGGEncoder(trunk, "random").double()


def decoders(skips):
    torch.manual_seed(1)
    plain, textured = Decoder(CHANNELS, skips=skips), TexturedDecoder(CHANNELS, (5, 6, 7), 9, skips=skips)
    for parameter in (*plain.parameters(), *textured.parameters()):
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    how = {"manner": torch.randn(2, 9).double(), "seed": torch.tensor([3, 4])}
    return (plain.double(), {}), (textured.double(), how)


@pytest.mark.parametrize("skips", [0, 3])
@pytest.mark.parametrize("kind", [0, 1], ids=["paper", "textured"])
@torch.no_grad()
def test_tiles_paint_what_one_pass_paints(encoder, kind, skips, monkeypatch):
    decoder, how = decoders(skips)[kind]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 96, 144, dtype=torch.float64, generator=generator)
    style = torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=generator)
    maps = encoder(images, (*SHALLOW, "relu4_1"))
    statistics = [channel_statistics(part) for part in encoder(style, SHALLOW).values()]
    whole = decoder(maps["relu4_1"], *decoder.styled_skips(maps, statistics), **how)

    def tiled(tile):
        shallow = {name: shallow_map(encoder, images, name, tile=tile) for name in SHALLOW}
        return decoder.in_tiles(maps["relu4_1"], *decoder.tiled_skips(shallow, statistics), **how, tile=tile)

    for tile in (8, 40, 1024):
        assert torch.allclose(tiled(tile), whole, atol=1e-7), tile
    if kind == 0:
        monkeypatch.setattr(mirrored_decoder, "DECODER_HALO", 1)
        assert not torch.allclose(tiled(40), whole, atol=1e-7)


@torch.no_grad()
def test_statistics_of_a_tile_alone_would_show():
    decoder, how = decoders(0)[1]
    maps = torch.rand(2, 12, 8, 8, dtype=torch.float64)
    maps[..., 4:] *= 3
    left = decoder(maps[..., :4], **how)
    assert not torch.allclose(decoder.in_tiles(maps, **how, tile=32)[..., :32], left, atol=1e-3)
