import copy

import numpy as np
import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from lightning_modules.weights import load_clip
from metrics import clip_score
from metrics.clip_score import CLIPDirectionalScore, CLIPPictureScore, CLIPStyleScore, MaskedCLIPScore

WORDS = ("red", "green", "blue", "a Photo")


class Clip(nn.Module):
    """Mean and spread of the colours, and a fixed vector for every text; counts what it reads."""

    source = "embedded"

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.read = []

    def encode_image(self, images):
        assert images.dtype == torch.float32
        return torch.cat([images.mean((2, 3)) - 0.4, images.square().mean((2, 3))], 1) * self.gain

    def encode_text(self, texts):
        self.read += texts
        return torch.stack([torch.randn(6, generator=torch.Generator().manual_seed(hash_of(t))) for t in texts])


class Extractor(nn.Module):
    """The same behind taps."""

    source = "embedded"

    def __init__(self):
        super().__init__()
        self.clip = Clip()

    def forward(self, images, taps):
        return {tap: self.clip.encode_image(images) for tap in taps}


def hash_of(text):
    return sum(ord(letter) * 31**place for place, letter in enumerate(text)) % 2**31


def pictures(seed, n=4, height=8, width=8):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed)) ** 2


def vectors(images):
    x = images.double().numpy()
    return np.concatenate([x.mean((2, 3)) - 0.4, (x**2).mean((2, 3))], 1)


def texts(words):
    return Clip().encode_text(list(words)).double().numpy()


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("network", [Clip, Extractor])
@pytest.mark.parametrize("splits", [(4,), (1, 3), (2, 1, 1)])
def test_style_score(network, splits):
    images, score = pictures(0), CLIPStyleScore(network())
    start = 0
    for part in images.split(splits):
        score.update(part, WORDS[start : start + len(part)])
        start += len(part)
    np.testing.assert_allclose(float(score.compute()), cosines(vectors(images), texts(WORDS)).mean(), atol=1e-6)


def test_scale_clamp_and_template():
    images, expected = pictures(0), cosines(vectors(pictures(0)), texts([f"A photo depicts {word}" for word in WORDS]))
    assert (expected < 0).any()
    score = CLIPStyleScore(Clip(), scale=2.5, clamp=True, template="A photo depicts {}")
    np.testing.assert_allclose(score.values(images, WORDS), 2.5 * expected.clip(min=0), atol=1e-6)
    assert "2.5 max(cos, 0)" in score.convention
    assert "'A photo depicts {}'" in score.convention


def test_picture_score():
    a, b = pictures(0), pictures(1, height=5, width=9)
    score = CLIPPictureScore(Clip())
    np.testing.assert_allclose(score.values(a, b), cosines(vectors(a), vectors(b)), atol=1e-6)
    for images in (a, a.half(), (a * 255).byte(), torch.zeros(1, 3, 4, 4)):
        assert score.values(images, images.clone()).unique().tolist() == [1]


def test_texts_are_read_once(monkeypatch):
    network = Clip()
    score = CLIPStyleScore(network)
    for _ in range(3):
        score.update(pictures(0), ["red", "blue", "red", "red"])
    assert network.read == ["red", "blue"]
    monkeypatch.setattr(clip_score, "CACHED_TEXTS", 2)
    score.update(pictures(0), ["red", "green", "green", "red"])
    assert network.read == ["red", "blue", "red", "green"]


def boxes(n=4, height=8, width=8):
    masks = torch.zeros(n, 1, height, width, dtype=torch.bool)
    for row in range(n):
        masks[row, 0, row : row + 3, 1 : 3 + row] = True
    masks[:, :, 7, 0] = torch.tensor([False, True, False, False])[:, None]
    return masks


@pytest.mark.parametrize("square", [False, True])
def test_masked_score(square):
    images, masks = pictures(0), boxes()
    crops = []
    for image, mask in zip((images * masks).double(), masks[:, 0], strict=True):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        crop = image[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        side = max(crop.shape[1:])
        padded = torch.zeros(3, side, side, dtype=crop.dtype)
        padded[:, : crop.shape[1], : crop.shape[2]] = crop  # where it stands does not matter to this network
        crops.append(vectors((padded if square else crop)[None])[0])
    expected = 100 * cosines(np.stack(crops), texts(WORDS)).clip(min=0)
    score = MaskedCLIPScore(Clip(), square=square)
    np.testing.assert_allclose(score.values(images, WORDS, masks), expected, atol=1e-4)
    np.testing.assert_allclose(score.values((images.half()), WORDS, masks.half()), expected, atol=0.1)
    assert ("padded" in score.convention) is square


def test_what_lies_outside_the_mask_does_not_count():
    images, masks = pictures(0), boxes()
    painted = torch.where(masks, images, pictures(5))
    score = MaskedCLIPScore(Clip())
    assert torch.equal(score.values(images, WORDS, masks), score.values(painted, WORDS, masks))


@pytest.mark.parametrize("masks", [None, boxes()])
def test_directional_score(masks):
    images, contents = pictures(0), pictures(1)
    seen = [x * (1 if masks is None else masks) for x in (images, contents)]
    ends = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (vectors(seen[0]), vectors(seen[1]))]
    words = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (texts((*WORDS[:3], "x")), texts(["a Photo"]))]
    expected = cosines(ends[0] - ends[1], words[0] - words[1])
    score = CLIPDirectionalScore(Clip())
    score.update(images, contents, [*WORDS[:3], "x"], masks)
    np.testing.assert_allclose(float(score.compute()), expected.mean(), atol=1e-5)
    assert score.values(images, images.clone(), WORDS).unique().tolist() == [0]


def test_the_embedded_clip_fits():
    network = load_clip("embedded")
    images, masks = pictures(0, n=2, height=40, width=64), torch.zeros(2, 40, 64)
    masks[:, 10:30, 5:60] = 1
    for score, inputs in [
        (CLIPStyleScore(network), (images, ["red", "blue"])),
        (CLIPPictureScore(network), (images, images.flip(0))),
        (MaskedCLIPScore(network), (images, ["red", "blue"], masks)),
        (CLIPDirectionalScore(network), (images, images.flip(0), ["red", "blue"])),
    ]:
        score.update(*inputs)
        assert bool(score.compute().isfinite())
        assert "embedded" in score.convention
        assert score.sources == ("embedded",)  # what marks its name in tables
        assert "\n" not in score.convention
        assert len(score.inputs) == len(inputs)


def test_casts_copies_and_checkpoints():
    parent = nn.Module()
    parent.metric = CLIPStyleScore(Clip())
    parent.metric.update(pictures(0), WORDS)
    before = float(parent.metric.compute())
    parent.to(torch.bfloat16).half()
    with torch.autocast("cpu", torch.bfloat16):
        parent.metric.update(pictures(0), WORDS)
    assert abs(float(parent.metric.compute()) - before) < 1e-12
    assert float(copy.deepcopy(parent.metric).compute()) == float(parent.metric.compute())
    assert parent.state_dict() == {}
    assert list(parent.parameters()) == []


def test_bad_input_is_refused_in_one_sentence():
    score = CLIPStyleScore(Clip())
    for target, words in [
        ("red", "Give a list with the prompt of every picture"),
        (["red"], "4 stylized pictures and 1 of prompt"),
        (pictures(0, n=3), "4 stylized pictures and 3 of prompt"),
    ]:
        with pytest.raises(ImpastoError, match=words):
            score.update(pictures(0), target)
    with pytest.raises(ImpastoError, match="needs a mask"):
        MaskedCLIPScore(Clip()).update(pictures(0), WORDS)
    with pytest.raises(ImpastoError, match="4 stylized pictures and 2 of content"):
        CLIPDirectionalScore(Clip()).update(pictures(0), pictures(1, n=2), WORDS)
    with pytest.raises(ImpastoError, match="no place for the text"):
        CLIPStyleScore(Clip(), template="A photo")
    with pytest.raises(ImpastoError, match="has no encode_text"):
        CLIPStyleScore(nn.Identity())
