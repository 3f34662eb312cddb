"""The artist classifier's network: shapes at any size, frozenness, and no layer in common with VGG or CLIP."""

import pytest
import torch
from torch import nn

from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet, build_network


@pytest.fixture
def classifier() -> ArtistClassifier:
    torch.manual_seed(0)
    return ArtistClassifier(BrushworkNet(3, widths=(4, 8), depths=(1, 1)), ["A", "B", "C"], "random")


@pytest.mark.parametrize("size", [(32, 32), (96, 128), (77, 51)])
def test_one_logit_for_every_artist_at_any_size(classifier: ArtistClassifier, size: tuple[int, int]) -> None:
    assert classifier.artists == ("A", "B", "C")
    assert classifier(torch.rand(2, 3, *size)).shape == (2, 3)


@pytest.mark.parametrize("none", [False, True])
def test_one_more_logit_where_a_picture_may_be_nobodys(none: bool) -> None:
    config = {"artists": ["A", "B", "C"], "widths": [4, 8], "depths": [1, 1], **({"none": True} if none else {})}
    network = build_network(config)
    classifier = ArtistClassifier(network, config["artists"], "random", none=none)
    images = torch.rand(2, 3, 40, 48)
    assert classifier.none is none
    assert classifier(images).shape == (2, 3 + none)
    assert classifier.features(images).shape == (2, 16)
    torch.testing.assert_close(network.head(classifier.features(images)), classifier(images))


def test_what_the_last_layer_of_a_vgg_sees() -> None:
    torch.manual_seed(0)
    network = build_network({"artists": ["A", "B"], "network": "vgg16", "none": True}).eval()
    images = torch.rand(1, 3, 224, 224)
    features = ArtistClassifier(network, ["A", "B"], "random", none=True).features(images)
    assert features.shape == (1, 4096)
    torch.testing.assert_close(network.network((images - network.mean) / network.std), network(images))
    torch.testing.assert_close(network.network.classifier[-1](features), network(images))


def test_it_stays_frozen_but_lets_gradients_through(classifier: ArtistClassifier) -> None:
    nn.Sequential(classifier).train()
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    classifier(images).sum().backward()
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())


def test_a_flat_picture_gives_finite_logits_and_gradients(classifier: ArtistClassifier) -> None:
    images = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    logits = classifier(images)
    logits.sum().backward()
    assert bool(torch.isfinite(logits).all())
    assert images.grad is not None
    assert bool(torch.isfinite(images.grad).all())


def test_it_is_a_convnext_whose_head_sees_mean_and_spread() -> None:
    torch.manual_seed(0)
    net = BrushworkNet(3, widths=(4, 8), depths=(1, 1)).double().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    images = torch.rand(2, 3, 40, 48, dtype=torch.float64)
    x = (images - 0.5) / 0.25
    for layer in net.body:
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.GELU):
            x = layer(x)
            continue
        hidden = layer.expand(layer.norm(layer.depthwise(x)))
        x = x + layer.reduce(0.5 * hidden * (1 + torch.erf(hidden / 2**0.5)))
    mean = x.mean((2, 3))
    spread = ((x - mean[..., None, None]).square().mean((2, 3)) + 1e-5).sqrt()
    pooled = torch.cat([mean, spread], 1)
    normal = (pooled - pooled.mean(1, keepdim=True)) / (pooled.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = (normal * net.norm.weight + net.norm.bias) @ net.head.weight.T + net.head.bias
    torch.testing.assert_close(net(images), expected)
