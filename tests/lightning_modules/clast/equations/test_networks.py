"""Fusion and decoder layer by layer, as the released code has them, in float64."""

import pytest
import torch
import torch.nn.functional as F

from lightning_modules.clast.networks import Decoder, StyleFusion
from lightning_modules.networks.noise import place_noise

WIDTHS, HIDDEN, DIM = (4, 6, 10), 16, 8


def conv(layer, maps):
    convolution = layer.convolution
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), convolution.weight, convolution.bias)


SEED = torch.tensor([3, 8])


def normal(layer, maps, style):
    maps = affine(layer, maps, style)
    if layer.noise is None:
        return maps
    strength = style @ layer.noise.strength.weight.T + layer.noise.strength.bias
    noise = place_noise(SEED + layer.noise.number, *maps.shape[-2:]).double()
    return maps + strength[..., None, None] * noise


def affine(layer, maps, style):
    mean = maps.mean((2, 3), keepdim=True)
    maps = (maps - mean) / ((maps - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    if layer.norm == "instance":
        return maps
    scale, shift = (style @ layer.affine.weight.T + layer.affine.bias)[..., None, None].tensor_split(2, 1)
    return maps * (1 + scale) + shift


def nearest(maps):
    return maps.repeat_interleave(2, 2).repeat_interleave(2, 3)


def bilinear(maps):
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def centred(maps):
    return (maps - maps.mean((2, 3), keepdim=True)) / (maps.var((2, 3), keepdim=True) + 1e-5).sqrt()


def skip(decoder, level, shallow, style):
    gated = decoder.skips[level]
    opened = torch.sigmoid(style @ gated.gate.weight.T + gated.gate.bias)[..., None, None]
    return opened * F.conv2d(centred(shallow[level]), gated.reduce.weight, gated.reduce.bias)


@pytest.fixture
def double():
    """Build everything in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("skips", [0, 3])
@pytest.mark.parametrize(("norm", "noise"), [("instance", False), ("styled", False), ("styled", True)])
def test_the_decoder_is_that_of_the_released_code_but_for_noise(norm, noise, skips):
    decoder = Decoder(WIDTHS, HIDDEN, norm, DIM, skips=skips, skip_channels=(5, 7), noise=noise)
    double = bilinear if noise else nearest
    style = torch.randn(2, DIM)
    fine, middle, coarse = (torch.randn(2, width, 8 // 2**k, 12 // 2**k) for k, width in enumerate(WIDTHS))
    shallow = [torch.randn(2, 5, 32, 48), torch.randn(2, 7, 16, 24)]

    x = middle + normal(decoder.merge, conv(decoder.merge, bilinear(coarse)), style)
    x = bilinear(normal(decoder.expand, conv(decoder.expand, x), style).relu())
    x = torch.cat([x, fine], 1)
    first, second = decoder.stage3
    x = conv(second, normal(first, conv(first, x), style).relu()).relu()
    x = double(normal(decoder.leave3, conv(decoder.leave3, x), style).relu())
    first, second = decoder.stage2
    x = torch.cat([x, skip(decoder, 1, shallow, style)], 1) if skips else x
    x = double(normal(second, conv(second, conv(first, x).relu()), style).relu())
    x = torch.cat([x, skip(decoder, 0, shallow, style)], 1) if skips else x
    x = normal(decoder.stage1, conv(decoder.stage1, x), style).relu()
    expected = conv(decoder.to_rgb, x)
    assert torch.allclose(decoder((fine, middle, coarse), style, shallow, SEED), expected, atol=1e-12)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("released", [True, False])
def test_the_fusion_is_that_of_the_released_code(released):
    fusion = StyleFusion((5, 7, 9), WIDTHS, DIM, mixer="mamba1", zero_init=not released)
    for block in fusion.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.3)
    style = torch.randn(2, DIM)
    maps = [torch.randn(2, channels, 8 // 2**k, 12 // 2**k) for k, channels in enumerate((5, 7, 9))]
    adapted = [F.conv2d(m, a.weight, a.bias).relu() for m, a in zip(maps, fusion.adapters, strict=True)]
    fused = fusion(maps, style)
    for level, (block, output) in enumerate(zip(fusion.blocks, fusion.outputs, strict=True)):
        step = [2 ** (level - finer) for finer in range(level + 1)]
        key = torch.cat([centred(adapted[k][..., ::s, ::s]) for k, s in enumerate(step)], 1)  # nearest neighbours
        given = style if released else style * torch.sigmoid(style)  # adaLN-Zero's SiLU
        modulation = (given @ block.modulation.weight.T + block.modulation.bias).chunk(6, 1)
        shift1, scale1, gate1, shift2, scale2, gate2 = (part[:, None] for part in modulation)
        tokens = key.flatten(2).mT
        norm = torch.nn.functional.layer_norm
        dim = tokens.shape[-1:]
        tokens = tokens + gate1 * block.mixer.mixer(norm(tokens, dim, eps=1e-6) * (1 + scale1) + shift1)
        first, _, second = block.mlp
        hidden = F.gelu(first(norm(tokens, dim, eps=1e-6) * (1 + scale2) + shift2), approximate="tanh")
        tokens = tokens + gate2 * second(hidden)
        expected = F.conv2d(tokens.mT.view_as(key), output.weight, output.bias)
        assert torch.allclose(fused[level], expected, atol=1e-10), level
