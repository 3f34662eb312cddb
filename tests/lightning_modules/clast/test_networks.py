import pytest
import torch

from lightning_modules.clast.networks import AdaLNBlock, Decoder, GatedSkip, StyleFusion

ENCODER = (256, 512, 512)
PAPER = (64, 128, 320)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def features(side=32, batch=1, channels=ENCODER):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, c, side // 2**k, side // 2**k, generator=generator) for k, c in enumerate(channels)]


def test_shapes_and_sizes_of_the_released_networks():
    fusion = StyleFusion(ENCODER, PAPER, 512, mixer="mamba1", zero_init=False)
    decoder = Decoder(PAPER, 256, "instance", 512)
    style = torch.randn(1, 512)
    fused = fusion(features(), style)
    assert [tuple(map_.shape) for map_ in fused] == [(1, 64, 32, 32), (1, 128, 16, 16), (1, 320, 8, 8)]
    assert decoder(fused, style).shape == (1, 3, 128, 128)
    # Sizes of the released parts, in millions of parameters.
    adapters = count(fusion.adapters)
    assert adapters / 1e6 == pytest.approx(0.25, abs=0.005)
    assert (count(fusion) - adapters) / 1e6 == pytest.approx(5.1, abs=0.05)
    assert count(decoder) / 1e6 == pytest.approx(2.5, abs=0.05)


@pytest.mark.parametrize("mixer", ["ssd", "mamba1"])
def test_a_zero_initialised_block_is_the_identity_and_can_leave_it(mixer):
    block = AdaLNBlock(16, 8, mixer=mixer, order="bidi")
    maps, style = torch.randn(2, 16, 4, 6), torch.randn(2, 8)
    output = block(maps, style)
    assert torch.equal(output, maps)
    output.square().sum().backward()
    assert block.modulation.weight.grad.any()


@pytest.mark.parametrize("mixer", ["ssd", "mamba1"])
def test_the_block_against_its_formula_token_by_token(mixer):
    block = AdaLNBlock(16, 8, mixer=mixer, zero_init=False)
    maps, style = torch.randn(1, 16, 3, 5), torch.randn(1, 8)
    shift1, scale1, gate1, shift2, scale2, gate2 = block.modulation(style).view(6, 16)
    tokens = torch.stack([maps[0, :, row, column] for row in range(3) for column in range(5)])  # L, C

    def norm(x):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()

    mixed = block.mixer.mixer((norm(tokens) * (1 + scale1) + shift1)[None])[0]
    tokens = tokens + gate1 * mixed
    tokens = tokens + gate2 * block.mlp(norm(tokens) * (1 + scale2) + shift2)
    assert torch.allclose(block(maps, style)[0].flatten(1).T, tokens, atol=1e-4)


def test_every_level_sees_the_finer_ones_and_none_the_coarser():
    fusion = StyleFusion((4, 4, 4), (4, 4, 4), 8, zero_init=False)
    style = torch.randn(1, 8)
    maps = features(8, channels=(4, 4, 4))
    base = fusion(maps, style)
    for changed in range(3):
        other = [map_ + (torch.randn_like(map_) if k == changed else 0) for k, map_ in enumerate(maps)]
        moved = [not torch.allclose(a, b) for a, b in zip(base, fusion(other, style), strict=True)]
        assert moved == [level >= changed for level in range(3)]


def offsets(norm):
    """Return how far the picture moves when a constant is added to every fused map."""
    torch.manual_seed(0)
    decoder = Decoder((8, 16, 24), 32, norm, 12).double()
    style = torch.randn(1, 12, dtype=torch.float64)
    fused = [map_.double() for map_ in features(16, channels=(8, 16, 24))]
    moved = decoder(fused, style) - decoder([map_ + 5 for map_ in fused], style)
    return float(moved.detach().abs().max())


def test_the_released_decoder_erases_a_constant_that_the_fusion_wrote():
    assert offsets("instance") < 1e-6


def test_style_reaches_the_picture_through_the_styled_decoder_alone():
    fused = features(16, channels=(8, 16, 24))
    for norm, moves in (("instance", False), ("styled", True)):
        decoder = Decoder((8, 16, 24), 32, norm, 12)
        one, other = (decoder(fused, torch.full((1, 12), value)) for value in (0.5, -0.5))
        assert (not torch.allclose(one, other)) == moves


def test_channel_statistics_that_the_style_asks_for_reach_the_picture():
    torch.manual_seed(0)
    decoder = Decoder((8, 16, 24), 32, "styled", 12)
    with torch.no_grad():
        decoder.stage1.affine.bias.copy_(torch.cat([torch.zeros(8), torch.full((8,), 5.0)]))
        lifted = decoder(features(16, channels=(8, 16, 24)), torch.zeros(1, 12))
        decoder.stage1.affine.bias.zero_()
        plain = decoder(features(16, channels=(8, 16, 24)), torch.zeros(1, 12))
    assert (lifted.mean((2, 3)) - plain.mean((2, 3))).abs().max() > 0.1


def test_skips_carry_fine_structure_and_the_style_closes_them():
    decoder = Decoder((8, 16, 24), 32, "styled", 12, skips=4, skip_channels=(6, 10))
    fused, style = features(16, channels=(8, 16, 24)), torch.randn(1, 12)
    shallow = [torch.randn(1, 6, 64, 64), torch.randn(1, 10, 32, 32)]
    picture = decoder(fused, style, shallow)
    assert picture.shape == (1, 3, 64, 64)
    assert not torch.allclose(picture, decoder(fused, style, [-map_ for map_ in shallow]))
    skip = GatedSkip(6, 4, 12)
    with torch.no_grad():
        skip.gate.bias.fill_(-1e4)
    assert not skip(shallow[0], style).any()


@pytest.mark.parametrize("norm", ["instance", "styled"])
def test_gradients_reach_every_parameter(norm):
    fusion = StyleFusion((4, 4, 4), (8, 16, 24), 12, zero_init=False)
    decoder = Decoder((8, 16, 24), 32, norm, 12)
    style = torch.randn(2, 12)
    decoder(fusion(features(16, 2, (4, 4, 4)), style), style).square().mean().backward()
    silent = [name for part in (fusion, decoder) for name, p in part.named_parameters() if p.grad is None]
    assert silent == []
