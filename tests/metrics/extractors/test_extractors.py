"""The extractors: taps, preprocessing, fingerprints, and one object for all who ask for the same."""

import gc

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.frozen import FrozenNetwork
from metrics import extractors
from metrics.extractors import ClipFeatures, CSDFeatures, InceptionFeatures, fingerprint, load_extractor


class Eye(nn.Module):
    image_size = 24
    output_dim = 5


class ToyCLIP(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        self.visual = Eye()
        self.project = nn.Linear(3 * 24 * 24, 5, bias=False)
        draw = torch.Generator().manual_seed(seed)
        self.project.weight.data = torch.randn(5, 3 * 24 * 24, generator=draw)

    def encode_image(self, images):
        self.seen = images
        return self.project(images.flatten(1))


class ToyInception(FrozenNetwork):
    channels = {"conv2d_2b": 3, "pool3": 3}  # noqa: RUF012
    smallest = {"conv2d_2b": 7, "pool3": 75}  # noqa: RUF012

    def __init__(self):
        super().__init__("embedded")
        self.gain = nn.Parameter(torch.ones(3))
        self.freeze()

    def forward(self, images, taps):
        self.seen = images
        return {tap: images.mean((2, 3)) if tap == "pool3" else images for tap in taps}


def pictures(height, width, n=2):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def clip(seed=0):
    return CLIPEncoder(
        ToyCLIP(seed), lambda texts: torch.zeros(len(texts), 1), "embedded", mean=(0, 0, 0), std=(1, 1, 1)
    )


def test_inception_prepares_and_names_what_is_wrong():
    features = InceptionFeatures(ToyInception(), "clean")
    assert features(pictures(20, 30), ["pool3"])["pool3"].shape == (2, 3)
    assert features.network.seen.shape == (2, 3, 299, 299)
    native = InceptionFeatures(ToyInception(), "native")
    assert native(pictures(20, 30), ["conv2d_2b"])["conv2d_2b"].shape == (2, 3, 20, 30)
    assert native.source == "embedded"
    with pytest.raises(ImpastoError, match="pool3 need pictures of at least 75 pixels a side, got 20x30"):
        native(pictures(20, 30), ["pool3"])
    with pytest.raises(ImpastoError, match="no features 'logits'"):
        native(pictures(20, 30), ["logits"])
    with pytest.raises(ImpastoError, match="no front end"):
        InceptionFeatures(ToyInception(), "tf")


@pytest.mark.parametrize("size", [(40, 61), (61, 40), (24, 24), (10, 12)])
def test_cmmd_crops_first_and_rounds_as_pil_does(size):
    height, width = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    expected = np.asarray(square.resize((24, 24), Image.Resampling.BICUBIC), dtype=np.float64)

    features = ClipFeatures(clip(), "cmmd")
    vectors = features(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255, ["projected"])["projected"]
    seen = features.clip.model.seen[0].permute(1, 2, 0).double().numpy() * 255
    assert vectors.shape == (1, 5)
    assert np.abs(seen - seen.round()).max() < 1e-4
    assert np.abs(seen - expected).max() < 1.01  # its weights have 22 bits
    assert np.abs(seen - expected).mean() < 0.02


def test_clip_resizes_first():
    features = ClipFeatures(clip(), "clip")
    images = pictures(48, 96)
    vectors = features(images, ["projected"])["projected"]
    assert torch.equal(vectors, features.clip.encode_image(images))
    assert not torch.equal(vectors, ClipFeatures(clip(), "cmmd")(images, ["projected"])["projected"])
    with pytest.raises(ImpastoError, match="no preprocessing 'dino'"):
        ClipFeatures(clip(), "dino")
    with pytest.raises(ImpastoError, match="features 'projected' alone, not 'pool3'"):
        features(images, ["pool3"])


def test_fingerprints_tell_weights_structure_and_preprocessing_apart():
    extractors = [
        ClipFeatures(clip(0), "cmmd"),
        ClipFeatures(clip(0), "clip"),
        ClipFeatures(clip(1), "cmmd"),
        InceptionFeatures(ToyInception(), "clean"),
        InceptionFeatures(ToyInception(), "native"),
        CSDFeatures(ToyInception()),
    ]
    prints = [extractor.fingerprint() for extractor in extractors]
    assert len(set(prints)) == len(prints)
    assert ClipFeatures(clip(0), "cmmd").fingerprint() == prints[0] == fingerprint(extractors[0])
    assert {len(value) for value in prints} == {64}


NAMES = ["inception-fid", "inception-imagenet", "inception-art", "clip-l-336", "clip", "csd", "vgg19"]
TAPS = {"inception-fid": "pool3", "inception-imagenet": "conv2d_4a", "inception-art": "pool3", "csd": "style"}


@pytest.mark.parametrize("name", NAMES)
def test_embedded_stand_ins_serve_every_name(name):
    state = torch.get_rng_state()
    extractor = load_extractor(name, "embedded")
    assert torch.equal(torch.get_rng_state(), state)
    assert extractor.source == "embedded"
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    tap = TAPS.get(name, "relu3_1" if name == "vgg19" else "projected")
    found = extractor(pictures(40, 56), [tap])
    assert list(found) == [tap]
    assert found[tap].isfinite().all()
    assert len(found[tap]) == 2
    assert len(fingerprint(extractor)) == 64


def test_every_name_has_its_network_and_front_end(monkeypatch):
    """Stand-ins take pictures as they are, so that only a published network tells what stands before it."""
    asked = []

    def load_inception(weights, variant):
        asked.append((weights, variant))
        return ToyInception()

    def load_clip(weights, **options):
        asked.append((weights, options))
        return clip()

    monkeypatch.setattr(extractors, "load_inception", load_inception)
    monkeypatch.setattr(extractors, "load_clip", load_clip)
    found = [load_extractor(f"inception-{name}", "pretrained") for name in ("fid", "imagenet", "art")]
    assert [extractor.front_end for extractor in found] == ["clean", "native", "unit"]
    other = load_extractor("inception-fid", "pretrained", front_end="torchmetrics")
    assert other.front_end == "torchmetrics"
    assert load_extractor("inception-fid", "pretrained") is found[0]
    assert [load_extractor(name, "pretrained").preprocess for name in ("clip-l-336", "clip")] == ["cmmd", "clip"]
    variants = [("pretrained", name) for name in ("fid", "imagenet", "art", "fid")]
    assert asked == [*variants, ("pretrained", {"model": "ViT-L-14-336"}), ("pretrained", {})]


def test_one_extractor_as_long_as_it_is_used():
    first = load_extractor("csd", "embedded")
    assert load_extractor("csd", "embedded") is first
    assert load_extractor("inception-fid", "embedded") is not load_extractor("inception-art", "embedded")
    del first
    gc.collect()
    assert ("csd", "embedded", "") not in extractors._loaded
    with pytest.raises(ImpastoError, match="no extractor 'dino': take one of inception-fid"):
        load_extractor("dino")
