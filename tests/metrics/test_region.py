import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.catalogue import CATALOGUE, EXTRAS, REGIONS, make_metrics
from metrics.collection import StyleMetricCollection
from metrics.region import BackgroundError, EdgeSeam, MaskIoU, RegionLPIPS, RegionSSIM
from metrics.region_judges import RegionDeception, RegionDirection


class Distance(nn.Module):
    source = "embedded"
    smallest = 16

    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


class Reddest(nn.Module):
    """Takes what is red for Ada's and what is blue for Bo's."""

    artists = ("Ada", "Bo")
    source = "embedded"
    smallest = 8

    def forward(self, images):
        return images.mean((2, 3))[:, [0, 2]]


class Colours(nn.Module):
    source = "random"

    def encode_image(self, images):
        return images.mean((2, 3))

    def encode_text(self, texts):
        return torch.tensor([[float(text == name) for name in ("red", "green", "a Photo")] for text in texts])


def tinted(channel):
    """Return a grey picture, the same with a tinted region, and the region's mask."""
    content, mask = torch.full((1, 3, 24, 24), 0.4), torch.zeros(1, 1, 24, 24)
    mask[..., 6:10, 6:20] = 1
    stylized = content.clone()
    stylized[:, channel] += 0.5 * mask[:, 0]
    return content, stylized, mask


def test_each_metric_is_the_mean_over_pictures_that_have_a_value():
    content, stylized, mask = tinted(0)
    batches = [(stylized, content, mask), (content, content, torch.ones_like(mask)), (content, content, mask)]
    expected = {
        RegionLPIPS(Distance()): (0.5 / 3 + 0 + 0) / 3,
        BackgroundError(): 0.0,
        EdgeSeam(): (0.5 / 3 + 0) / 2,  # the whole picture has no edge
    }
    for metric, value in expected.items():
        for batch in batches:
            metric.update(*batch)
        assert float(metric.compute()) == pytest.approx(value, abs=1e-6)
        metric.update(stylized[:0], content[:0], mask[:0])
        assert float(metric.compute()) == pytest.approx(value, abs=1e-6)
        with pytest.raises(ImpastoError, match="1 stylized pictures and 2 masks"):
            metric.update(stylized, content, mask.repeat(2, 1, 1, 1))
    ssim = RegionSSIM()
    ssim.update(stylized, content, mask)
    assert 0.5 < float(ssim.compute()) < 0.95
    assert math.isnan(float(RegionSSIM().compute()))


def test_background_errors_are_seen():
    content, stylized, mask = tinted(0)
    stylized[..., -1, -1] += 0.25
    metric = BackgroundError()
    metric.update(stylized, content, mask)
    assert float(metric.compute()) == pytest.approx(0.25)


def test_the_deception_of_a_region_asks_the_region_alone():
    content, stylized, mask = tinted(0)
    content[:, 2] += 0.3  # blue around, and more of it
    stylized[:, 2] += 0.3 * (1 - mask[:, 0])
    names = ["Ada"]
    metric = RegionDeception(Reddest())
    assert metric.values(stylized, names, mask).tolist() == [1]
    assert metric.values(content, names, mask).tolist() == [0]
    assert Reddest()(stylized).argmax() == 1  # of the whole picture, Bo's
    metric.update(stylized, names, mask)
    metric.update(content, names, mask)
    metric.update(content, ["Cy"], mask)  # unknown
    assert float(metric.compute()) == 0.5
    with pytest.raises(ImpastoError, match="1 pictures, 1 artists and 2 masks"):
        metric.values(stylized, names, mask.repeat(2, 1, 1, 1))


def test_the_direction_of_a_region_is_that_under_the_mask():
    content, stylized, mask = tinted(0)
    metric = RegionDirection(Colours())
    right, wrong = (float(metric.values(stylized, content, [text], mask)) for text in ("red", "green"))
    assert right > 0.5 > wrong
    outside = stylized.clone()
    outside[..., -3:, :] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    assert float(metric.values(outside, content, ["red"], mask)) == right


def test_a_collection_feeds_them_from_a_validation_with_masks():
    content, stylized, mask = tinted(0)
    made = {
        "region_ssim": RegionSSIM(),
        "region_lpips": RegionLPIPS(Distance()),
        "region_deception": RegionDeception(Reddest()),
        "region_direction": RegionDirection(Colours()),
        "mask_iou": MaskIoU(),
    }
    collection = StyleMetricCollection(made)
    fields = {"stylized": stylized, "content": content, "prompt": ["Ada"], "artist": torch.tensor([0])}
    collection.update(index=torch.tensor([0]), mask=mask, **fields)
    found = collection.compute()
    assert set(found) == {
        "region_ssim",
        "region_lpips_embedded",
        "region_deception_embedded",
        "region_direction_random",
    }
    assert float(found["region_lpips_embedded"]) == pytest.approx(0.5 / 3, abs=1e-6)
    collection.reset()
    collection.update(index=torch.tensor([0]), mask=mask, true_mask=mask, **fields)
    assert float(collection.compute()["mask_iou"]) == 1
    collection.reset()
    collection.update(index=torch.tensor([0]), **fields)
    assert not collection.compute()  # without masks they have nothing to say


def test_the_catalogue_builds_them_and_says_how_each_is_computed():
    assert REGIONS.keys().isdisjoint(CATALOGUE | EXTRAS)
    networks = {"lpips": Distance(), "artist": Reddest(), "clip": Colours()}
    metrics = make_metrics(list(REGIONS), SimpleNamespace(network=networks.__getitem__))
    lines = [metric.convention for metric in metrics.values()]
    assert len(set(lines)) == len(lines)
    assert all("mask" in line and "\n" not in line for line in lines)
    for name, metric in metrics.items():
        assert metric.higher_is_better == (name not in {"region_lpips", "edge_seam", "background_error"})
        assert set(metric.inputs) >= {"mask"}
        assert len(metric.sources) >= len(REGIONS[name].networks)
