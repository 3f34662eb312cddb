"""No metric makes a number of embeddings, logits or distances that are none."""

import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

import metrics
from lightning_modules.errors import ImpastoError
from metrics.artfid import ArtFID
from metrics.base import PictureMetric
from metrics.chamfer import ColorChamfer
from metrics.clip_score import CLIPDirectionalScore, CLIPPictureScore, CLIPStyleScore, MaskedCLIPScore
from metrics.cmmd import CMMD
from metrics.collection import StyleMetricCollection
from metrics.csd import CSD
from metrics.deception import DeceptionRate
from metrics.frechet import FrechetDistance
from metrics.functional.clip_score import cosine, directional_score
from metrics.functional.deception import deceives
from metrics.functional.frechet import frechet_from_moments
from metrics.functional.gram import gram_distance
from metrics.functional.mmd import clip_maximum_mean_discrepancy, kernel_inception_distance
from metrics.functional.ssim import structural_similarity
from metrics.functional.style_distance import style_distance
from metrics.functional.style_vector import FORMS, style_similarity
from metrics.functional.temporal import warped_error
from metrics.gram import GramDistance
from metrics.halo import StyleHalo
from metrics.kid import KID
from metrics.perceptual import PerceptualDistance
from metrics.region import BackgroundError, EdgeSeam, MaskIoU, RegionLPIPS, RegionSSIM
from metrics.region_judges import RegionDeception, RegionDirection
from metrics.sifid import SIFID
from metrics.ssim import StructuralSimilarity
from metrics.style_loss import StyleLoss
from metrics.temporal import FlowWarpedError, TemporalLPIPS
from metrics.way import WayToTruth

BAD = (torch.nan, torch.inf, -torch.inf)
N = 4


class Broken(nn.Module):
    """Whatever it is asked for, one number of the second picture is none."""

    artists = ("Ada", "Bo", "Cy")
    source = "embedded"

    def __init__(self, value):
        super().__init__()
        self.value = value

    def spoilt(self, x):
        x = x.clone()
        x.view(len(x), -1)[min(1, len(x) - 1), 0] = self.value
        return x

    def forward(self, images, other=None):
        if isinstance(other, torch.Tensor):  # a distance of two
            return self.spoilt((images - other).abs().mean((1, 2, 3)))
        if other is None:  # a classifier
            return self.spoilt(images.mean((2, 3)))
        maps = ("relu", "conv")
        return {tap: self.spoilt(images if tap.startswith(maps) else images.mean((2, 3))) for tap in other}

    def encode_image(self, images):
        return self.spoilt(images.mean((2, 3)))

    features = encode_image

    def encode_text(self, texts):
        return torch.ones(len(texts), 3)


def pictures(seed, n=N, size=32):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


A, B, CLIP, MASK = pictures(0), pictures(1), torch.zeros(N, dtype=torch.int64), torch.ones(N, 1, 32, 32)


def sets(metric, **beside):
    metric.update(A, real=False, **beside)
    metric.update(B, real=True)


# What each metric makes of pictures when its network is broken.
NETWORKS = {
    StyleLoss: lambda bad: StyleLoss(Broken(bad)).update(A, B),
    GramDistance: lambda bad: GramDistance(Broken(bad)).update(A, B),
    SIFID: lambda bad: SIFID(Broken(bad)).update(A, B),
    PerceptualDistance: lambda bad: PerceptualDistance(Broken(bad)).update(A, B),
    CLIPStyleScore: lambda bad: CLIPStyleScore(Broken(bad)).update(A, ["x"] * N),
    CLIPPictureScore: lambda bad: CLIPPictureScore(Broken(bad), clamp=True).update(A, B),
    MaskedCLIPScore: lambda bad: MaskedCLIPScore(Broken(bad)).update(A, ["x"] * N, MASK),
    CLIPDirectionalScore: lambda bad: CLIPDirectionalScore(Broken(bad)).update(A, B, ["x"] * N),
    DeceptionRate: lambda bad: DeceptionRate(Broken(bad)).update(A, ["Ada"] * N),
    WayToTruth: lambda bad: WayToTruth(Broken(bad)).update(A, B, pictures(2)),
    RegionLPIPS: lambda bad: RegionLPIPS(Broken(bad)).update(A, B, MASK),
    RegionDeception: lambda bad: RegionDeception(Broken(bad)).update(A, ["Ada"] * N, MASK),
    RegionDirection: lambda bad: RegionDirection(Broken(bad)).update(A, B, ["x"] * N, MASK),
    TemporalLPIPS: lambda bad: TemporalLPIPS(Broken(bad)).update(A, CLIP),
    FrechetDistance: lambda bad: sets(FrechetDistance(Broken(bad))),
    KID: lambda bad: sets(KID(Broken(bad))),
    CMMD: lambda bad: sets(CMMD(Broken(bad))),
    CSD: lambda bad: sets(CSD(Broken(bad))),
    ArtFID: lambda bad: sets(ArtFID(Broken(bad), Broken(0.0)), content=B),
}
WITHOUT = {
    StructuralSimilarity, StyleHalo, ColorChamfer, FlowWarpedError, RegionSSIM, BackgroundError, EdgeSeam, MaskIoU,
}  # fmt: skip


def test_every_metric_is_here():
    for info in pkgutil.walk_packages(metrics.__path__, "metrics."):
        importlib.import_module(info.name)
    every, todo = set(), [PictureMetric]
    while todo:
        todo += (children := todo.pop().__subclasses__())
        every |= {c for c in children if not inspect.isabstract(c) and c.__module__.startswith("metrics.")}
    assert every == NETWORKS.keys() | WITHOUT


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("metric", NETWORKS, ids=lambda metric: metric.__name__)
def test_a_broken_network_is_refused(metric, bad):
    with pytest.raises(ImpastoError, match=r"A .* (is|of .* is) nan or infinite: check the weights") as caught:
        NETWORKS[metric](bad)
    assert "\n" not in str(caught.value)


def test_a_broken_distance_does_not_reach_artfid():
    with pytest.raises(ImpastoError, match="nan or infinite"):
        sets(ArtFID(Broken(0.0), Broken(torch.nan)), content=B)


def test_a_mean_over_a_split_does_not_leave_it_out():
    """`nanmean` would: nan says that a sample has no value, such as an artist whom nobody knows."""
    for metric in (
        PerceptualDistance(Broken(torch.nan)),
        StyleLoss(Broken(torch.nan)),
        DeceptionRate(Broken(torch.nan)),
    ):
        collection = StyleMetricCollection({"broken": metric})
        with pytest.raises(ImpastoError, match="nan or infinite"):
            collection.update(stylized=A, content=B, style=B, artist=["Ada"] * N, index=torch.arange(N))


def vectors(bad):
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    x[1, 2] = bad
    return x


GOOD = vectors(0.5)


@pytest.mark.parametrize("bad", BAD)
def test_functions_of_vectors_refuse(bad):
    x = vectors(bad)
    for measure in (
        lambda: cosine(x, GOOD),
        lambda: cosine(GOOD, x),
        lambda: directional_score(GOOD, x, GOOD, GOOD + 1),
        lambda: deceives(x, torch.tensor([0, 1, 2])),
        lambda: clip_maximum_mean_discrepancy(x, GOOD),
        lambda: kernel_inception_distance(GOOD, x),
        lambda: frechet_from_moments(x[0], torch.eye(4), x[1], torch.eye(4)),
        *(lambda form=form: style_similarity(x, GOOD, form) for form in FORMS),
    ):
        with pytest.raises(ImpastoError, match="nan or infinite"):
            measure()


@pytest.mark.parametrize("bad", BAD)
def test_functions_of_maps_give_no_number_either(bad):
    maps, good = ({"a": x.view(3, 1, 2, 2)} for x in (vectors(bad), GOOD))
    for measure in (style_distance, gram_distance, lambda a, b: style_distance(a, b, "l2")):
        for value in (measure(maps, good), measure(good, maps)):
            assert value.isfinite().tolist() == [True, False, True]


def test_pictures_that_are_none():
    frames, flow = pictures(0, 2, 16), torch.zeros(2, 2, 16, 16)
    spoilt = frames.clone()
    spoilt[1, 0, 3, 3] = torch.nan
    assert bool(structural_similarity(spoilt, frames)[1].isnan())
    assert bool(warped_error(spoilt, frames, flow)[1].isnan())
    hidden = torch.zeros(2, 16, 16)
    hidden[0, 0, 0] = torch.nan
    with pytest.raises(ImpastoError, match="occlusion mask is nan somewhere"):
        warped_error(frames, frames, flow, hidden)
    for metric in (StructuralSimilarity(), ColorChamfer()):
        with pytest.raises(ImpastoError, match="nan"):
            metric.update(spoilt, frames)
    with pytest.raises(ImpastoError, match="nan"):
        FlowWarpedError().update(spoilt, torch.zeros(2), flow)


def test_a_frame_that_is_refused_is_not_remembered():
    metric = TemporalLPIPS(Broken(torch.nan))
    with pytest.raises(ImpastoError, match="distance of two frames is nan"):
        metric.update(A, CLIP)
    assert metric._last == {}
    assert bool(metric.compute().isnan())
