"""The artist classifier's network: shapes at any size, frozenness, and no layer in common with VGG or CLIP."""

import pytest
import torch
from torch import nn

from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet


@pytest.fixture
def classifier() -> ArtistClassifier:
    torch.manual_seed(0)
    return ArtistClassifier(BrushworkNet(3, widths=(4, 8), depths=(1, 1)), ["A", "B", "C"], "random")


@pytest.mark.parametrize("size", [(32, 32), (96, 128), (77, 51)])
def test_one_logit_for_every_artist_at_any_size(classifier: ArtistClassifier, size: tuple[int, int]) -> None:
    assert classifier.artists == ("A", "B", "C")
    assert classifier(torch.rand(2, 3, *size)).shape == (2, 3)


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
