"""Decoder and discriminators layer by layer, as the public code has them, in float64."""

import pytest
import torch
import torch.nn.functional as F

from lightning_modules.contraast.networks import Transform
from lightning_modules.networks.mirrored_decoder import Decoder, StyledSkip
from lightning_modules.networks.multi_scale_discriminator import MultiScaleDiscriminator


@pytest.fixture(autouse=True)
def double():
    """Build everything in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def conv(layer, maps):
    convolution = layer.convolution
    return F.conv2d(F.pad(maps, (1, 1, 1, 1), mode="reflect"), convolution.weight, convolution.bias)


def nearest(maps):
    return maps.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pooled(images):
    """Average 3x3 pixels, two apart, over those that the picture has."""
    ones = torch.ones(images.shape[1], 1, 3, 3)
    total = F.conv2d(images, ones, stride=2, padding=1, groups=images.shape[1])
    return total / F.conv2d(torch.ones_like(images), ones, stride=2, padding=1, groups=images.shape[1])


def test_the_decoder_mirrors_the_encoder_with_a_linear_last_layer():
    decoder, features = Decoder((4, 5, 6, 7)), torch.randn(2, 7, 3, 4)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = nearest(conv(decoder.stage4[0], features).relu())
    for stage in (decoder.stage3, decoder.stage2):
        for layer in stage:
            x = conv(layer, x).relu()
        x = nearest(x)
    first, last = decoder.stage1
    expected = conv(last, conv(first, x).relu())
    assert torch.allclose(decoder(features), expected, atol=1e-12)
    assert float(expected.detach().min()) < 0  # what a rectifier would cut


def test_the_levels_merge_without_a_rectifier():
    transform = Transform(6)
    features = {"relu4_1": torch.randn(1, 6, 4, 6), "relu5_1": torch.randn(1, 6, 2, 3)}
    queries, keys = transform.queries(features), transform.keys(features)
    upper, lower = (
        attention(features[name], query, key)
        for attention, name, query, key in zip(transform.attentions, features, queries, keys, strict=True)
    )
    expected = conv(transform.merge, upper + nearest(lower))
    assert torch.allclose(transform(features, queries, keys), expected, atol=1e-12)
    assert float(expected.detach().min()) < 0


def test_a_skip_has_the_styles_statistics():
    skip, content = StyledSkip(4, 3), torch.randn(2, 4, 6, 6)
    mean, std = torch.randn(2, 4, 1, 1), torch.rand(2, 4, 1, 1)
    centred = (content - content.mean((2, 3), keepdim=True)) / (content.var((2, 3), keepdim=True) + 1e-5).sqrt()
    expected = F.conv2d(centred * std + mean, skip.reduce.weight, skip.reduce.bias)
    assert torch.allclose(skip(content, (mean, std)), expected, atol=1e-12)


def test_every_scale_has_a_discriminator_of_its_own_on_a_picture_half_as_large():
    discriminator, images = MultiScaleDiscriminator(2, 4), torch.rand(2, 3, 64, 64)
    for scale, (scores, model) in enumerate(zip(discriminator(images), discriminator.models, strict=True)):
        x = images if scale == 0 else pooled(images)
        strided = [layer for layer in model if isinstance(layer, torch.nn.Conv2d)]
        for number, layer in enumerate(strided[:-1]):
            x = F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1)
            if number:
                mean = x.mean((2, 3), keepdim=True)
                x = (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
            x = torch.where(x > 0, x, 0.2 * x)
        expected = F.conv2d(x, strided[-1].weight, strided[-1].bias, padding=1)
        assert torch.allclose(scores, expected, atol=1e-12), scale
