"""The CLIP encoder: preprocessing, shapes, differentiability, frozenness; on a toy tower."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.clip import AT_ONCE, OPENAI_MEAN, OPENAI_STD, CLIPEncoder


class ToyCLIP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = SimpleNamespace(image_size=(8, 8), output_dim=5)
        self.seen: list[Tensor] = []
        self.norm = nn.BatchNorm2d(3)
        self.project = nn.Linear(3, 5)

    def encode_image(self, images: Tensor) -> Any:
        self.seen.append(images)
        return self.project(self.norm(images).mean((2, 3)))

    def encode_text(self, tokens: Tensor) -> Any:
        return self.project(tokens.float())


class WordTokenizer:
    """One token a word, and the marks of start and end."""

    context_length = 7

    def __call__(self, texts: list[str]) -> Tensor:
        return torch.tensor([[len(text), ord(text[0]), 1] for text in texts])

    def encode(self, text: str) -> list[int]:
        return [len(word) for word in text.split()]


@pytest.fixture
def encoder() -> CLIPEncoder:
    torch.manual_seed(0)
    return CLIPEncoder(ToyCLIP(), WordTokenizer(), "random")


def test_shapes_and_attributes(encoder: CLIPEncoder) -> None:
    assert (encoder.embed_dim, encoder.image_size) == (5, 8)
    assert encoder.encode_image(torch.rand(2, 3, 20, 9)).shape == (2, 5)
    assert encoder.encode_text(["one", "three"]).shape == (2, 5)
    assert encoder.encode_text(("a tuple",)).shape == (1, 5)


def test_a_picture_of_the_right_size_is_only_normalised(encoder: CLIPEncoder) -> None:
    images = torch.rand(2, 3, 8, 8)
    encoder.encode_image(images)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    torch.testing.assert_close(encoder.model.seen[-1], (images - mean) / std)


@pytest.mark.parametrize(("height", "width"), [(16, 32), (31, 16), (3, 5), (1, 1), (8, 9)])
def test_the_centre_square_is_seen(encoder: CLIPEncoder, height: int, width: int) -> None:
    encoder.encode_image(torch.rand(1, 3, height, width))
    assert encoder.model.seen[-1].shape == (1, 3, 8, 8)


@pytest.mark.parametrize(("margin", "first"), [(0, 0), (1, 0), (7, 3), (16, 8)])
def test_the_square_is_that_in_the_middle(encoder: CLIPEncoder, margin: int, first: int) -> None:
    wide = torch.rand(1, 3, 8, 8 + margin)
    encoder.encode_image(wide)
    encoder.encode_image(wide.transpose(2, 3))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    lying, standing = (seen * std + mean for seen in encoder.model.seen)
    torch.testing.assert_close(lying, wide[..., first : first + 8])
    torch.testing.assert_close(standing, lying.transpose(2, 3))


def test_resizing_is_bicubic_and_antialiased(encoder: CLIPEncoder) -> None:
    images = torch.rand(1, 3, 16, 16)
    encoder.encode_image(images)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    expected = F.interpolate(images, size=(8, 8), mode="bicubic", antialias=True)
    torch.testing.assert_close(encoder.model.seen[-1] * std + mean, expected)


def test_it_stays_frozen_but_lets_gradients_through(encoder: CLIPEncoder) -> None:
    nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    images = torch.rand(1, 3, 12, 12, requires_grad=True)
    encoder.encode_image(images).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_a_text_that_would_be_cut_is_refused_with_the_words_that_are_lost(encoder: CLIPEncoder) -> None:
    assert encoder.encode_text(["one two three four five"]).shape == (1, 5)
    with pytest.raises(ImpastoError, match=r"'one two .*' has 7 tokens, .* \(random\) reads 5: .* 'six seven' on"):
        encoder.encode_text(["short", "one two three four five six seven"])
    with pytest.raises(ImpastoError, match=r"from 'a six words six words six words six word\.\.\.' on"):
        encoder.encode_text(["1 2 3 4 5 a" + " six words" * 50])


def tower() -> Any:
    import open_clip

    torch.manual_seed(0)
    vision = {"layers": 3, "width": 32, "patch_size": 4, "image_size": 8, "head_width": 8}
    text = {"context_length": 7, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    network = open_clip.CLIP(5, vision, text).double().eval()
    for parameter in network.visual.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize("count", [1, AT_ONCE + 3])
def test_a_tower_sees_what_open_clip_s_sees(count: int) -> None:
    whole, encoder = tower().visual, CLIPEncoder(tower(), WordTokenizer(), "random").double()
    assert [name for name, _ in encoder.model.visual.named_parameters()] == [n for n, _ in whole.named_parameters()]
    images = torch.rand(count, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(count, 5, dtype=torch.float64)
    vectors, expected = encoder.encode_image(images), whole((images - encoder.mean) / encoder.std)
    torch.testing.assert_close(vectors, expected)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), images)[0] for out in (vectors, expected))
    assert float(theirs.abs().max()) > 1e-3
    torch.testing.assert_close(ours, theirs)


def test_a_tower_whose_tokens_are_read_keeps_them() -> None:
    whole, network = tower().visual, tower()
    whole.output_tokens = network.visual.output_tokens = True
    CLIPEncoder(network, WordTokenizer(), "random")
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    for ours, theirs in zip(network.visual(images), whole(images), strict=True):
        torch.testing.assert_close(ours, theirs)
