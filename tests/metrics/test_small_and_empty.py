"""The smallest pictures of every metric of the catalogue, batches without a picture, and labels that are none."""

import copy
import warnings

import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.artist_classifier import ArtistClassifier, BrushworkNet
from lightning_modules.weights import load_lpips
from metrics.artfid import ArtFID
from metrics.catalogue import CATALOGUE, Judges, make_metrics
from metrics.clip_score import CLIPDirectionalScore, MaskedCLIPScore
from metrics.collection import StyleMetricCollection
from metrics.csd import CSD
from metrics.deception import DeceptionRate
from metrics.frechet import FrechetDistance
from metrics.perceptual import PerceptualDistance
from metrics.set_distance import SetMetric
from metrics.sifid import SIFID
from metrics.style_loss import StyleLoss
from metrics.temporal import FlowWarpedError, TemporalLPIPS

# Sides in pixels from which a metric measures, with the embedded networks; below, one sentence says so.
SMALLEST = {
    "ssim": 11, "lpips": 16, "style_loss": 32, "style_l2": 32, "gram": 32, "sifid": 23, "sifid_64": 9, "chamfer": 1,
    "clip_style": 1, "clip_picture": 1, "deception": 32, "deception_top5": 32, "deception_closed": 32,
    "halo": 32, "temporal_lpips": 16, "fid": 16, "kid": 16, "cmmd": 1, "cmmd_unbiased": 1, "csd": 16,
    "csd_pairwise": 16, "artfid": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def judges():
    return Judges("embedded")


def pictures(seed, n, size):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def feed(metric, name, n, size):
    """Give a metric of the catalogue n pictures of its own kind."""
    stylized, other = pictures(0, n, size), pictures(1, n, size)
    if name == "halo":
        other = torch.zeros(n, 3, size, size)  # flat beside an edge
        other[..., 0] = 1
    if isinstance(metric, SetMetric):
        metric.update(stylized, real=False, **({"content": other} if name == "artfid" else {}))
        metric.update(other, real=True)
        return
    words = ["Ada Stipple"] * n
    given = {"content": other, "style": other, "prompt": words, "artist": words, "clip": torch.zeros(n)}
    metric.update(stylized, given[CATALOGUE[name].needs[0]])


def test_every_metric_has_its_smallest_side():
    assert SMALLEST.keys() == CATALOGUE.keys()


@pytest.mark.parametrize("name", CATALOGUE)
def test_from_the_smallest_side_on_a_metric_measures_and_below_it_says_so(name, judges):
    metric = copy.deepcopy(make_metrics([name], judges)[name])
    feed(metric, name, 3, SMALLEST[name])
    value = metric.compute()
    assert bool(torch.as_tensor(value).isfinite())
    for size in {8, SMALLEST[name] - 1} & set(range(1, SMALLEST[name])):
        metric.reset()
        with pytest.raises(ImpastoError, match=f"at least {SMALLEST[name]} pixels a side") as caught:
            feed(metric, name, 3, size)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_empty_batch_counts_nothing(name, judges):
    metric = copy.deepcopy(make_metrics([name], judges)[name])
    collection = StyleMetricCollection({name: metric})
    feed(metric, name, 3, 32)
    before = float(metric.compute())
    feed(metric, name, 0, 32)
    none, nothing = pictures(0, 0, 32), torch.zeros(0, dtype=torch.int64)
    collection.update(stylized=none, content=none, style=none, prompt=[], clip=nothing, index=nothing)
    assert collection.sample_values() == {}
    assert float(metric.compute()) == before


class Never(nn.Module):
    """Not every network takes a batch of nothing."""

    artists = ("Ada", "Bo", "Cy")

    def forward(self, *_):
        raise AssertionError("asked about nothing")


def test_no_network_is_asked_about_nothing():
    none = pictures(0, 0, 32)
    for metric in (PerceptualDistance(Never()), StyleLoss(Never()), SIFID(Never())):
        metric.update(none, none)
    DeceptionRate(Never()).update(none, [])
    TemporalLPIPS(Never()).update(none, torch.zeros(0))
    for metric in (FrechetDistance(Never()), CSD(Never()), ArtFID(Never(), Never())):
        metric.update(none, real=True)
        metric.update(none, real=False)
        assert len(metric.rows(real=True)) == len(metric.rows(real=False)) == 0


class Clip(nn.Module):
    def encode_image(self, images):
        return images.mean((2, 3))

    def encode_text(self, texts):
        return torch.ones(len(texts), 3)


def test_empty_batches_of_what_is_not_in_the_catalogue():
    none, flow = pictures(0, 0, 8), torch.zeros(0, 2, 8, 8)
    for metric, inputs in (
        (MaskedCLIPScore(Clip()), (none, [], torch.zeros(0, 1, 8, 8))),
        (CLIPDirectionalScore(Clip()), (none, none, [])),
        (FlowWarpedError(), (none, torch.zeros(0), flow)),
    ):
        metric.update(*inputs)
        with warnings.catch_warnings(action="ignore"):
            assert bool(metric.compute().isnan())


def test_a_published_network_says_what_it_needs():
    """AlexNet's maps are empty below 32 pixels; the metric asks the network, not its own kind."""
    network = load_lpips("random", trunk="alex")
    for metric, inputs in (
        (PerceptualDistance(network), (pictures(0, 2, 31), pictures(1, 2, 31))),
        (TemporalLPIPS(network), (pictures(0, 2, 31), torch.zeros(2))),
    ):
        with pytest.raises(ImpastoError, match="at least 32 pixels a side"):
            metric.update(*inputs)
    with pytest.raises(ImpastoError, match="at least 32 pixels a side"):
        ArtFID(Style(), network).update(pictures(0, 2, 31), real=False, content=pictures(1, 2, 31))


def test_a_classifier_says_what_it_needs():
    classifier = ArtistClassifier(
        BrushworkNet(3, widths=(4, 4, 4, 4), depths=(1, 1, 1, 1)), ("Ada", "Bo", "Cy"), "random"
    )
    assert classifier.smallest == 32
    metric = DeceptionRate(classifier)
    with pytest.raises(ImpastoError, match="judged pictures must be at least 32 pixels a side"):
        metric.update(pictures(0, 2, 31), ["Ada", "Bo"])
    metric.update(pictures(0, 2, 32), ["Ada", "Bo"])
    small = ArtistClassifier(BrushworkNet(3, widths=(4, 4), depths=(1, 1)), ("Ada", "Bo", "Cy"), "random")
    DeceptionRate(small).update(pictures(0, 2, 8), ["Ada", "Bo"])


class Style(nn.Module):
    source = "embedded"

    def forward(self, images, taps):
        return {tap: images.mean((2, 3)) for tap in taps}


class Colours(nn.Module):
    artists = ("Ada", "Bo", "Cy")

    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize("labels", [[0, 3], [0, -2], [0, 99]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(ImpastoError, match="Artists must be numbers of the 3 classes, or -1 for none of them"):
        DeceptionRate(Colours()).update(pictures(0, 2, 8), torch.tensor(labels))
    if min(labels) < 0:
        with pytest.raises(ImpastoError, match="number of one artist, 0 or more"):
            CSD(Style(), per_artist=True).update(pictures(0, 2, 8), real=False, artist=torch.tensor(labels))


def test_labels_of_another_shape_or_other_classes_are_refused():
    with pytest.raises(ImpastoError, match=r"need labels \(B,\), got \(2, 3\) and \(2, 1\)"):
        DeceptionRate(Colours()).update(pictures(0, 2, 8), torch.tensor([[0], [1]]))
    with pytest.raises(ImpastoError, match=r"gives \(2, 3\) for 4 artists"):
        DeceptionRate(Colours(), ("Ada", "Bo", "Cy", "Di")).update(pictures(0, 2, 8), ["Ada", "Bo"])
