import pytest
import torch
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.collection import StyleMetricCollection
from metrics.way import WayToTruth


class Means(nn.Module):
    source = "embedded"

    def __init__(self):
        super().__init__()
        self.asked = 0

    def features(self, images):
        self.asked += len(images)
        return images.mean((2, 3))


def pictures(seed, count=4):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_content_is_0_truth_is_1_and_a_blend_lies_between():
    content, truth = pictures(0), pictures(1)
    metric = WayToTruth(Means())
    for share in (0.0, 0.25, 1.0):
        found = metric.values(torch.lerp(content, truth, share), content, truth)
        torch.testing.assert_close(found, torch.full((4,), share).double(), atol=1e-5, rtol=0)
    metric.update(torch.lerp(content, truth, 0.25), content, truth)
    metric.update(truth[:2], content[:2], truth[:2])
    assert float(metric.compute()) == pytest.approx((4 * 0.25 + 2) / 6, abs=1e-5)


def test_contents_and_truths_are_looked_at_once():
    network = Means()
    metric = WayToTruth(network)
    content, truth = pictures(0, 1).expand(4, -1, -1, -1), pictures(1)
    for _ in range(3):
        metric.reset()
        metric.update(pictures(2), content, truth)
    assert network.asked == 3 * 4 + 1 + 4


def test_a_picture_without_a_way_is_not_counted():
    content, truth = pictures(0), pictures(1)
    truth[0] = content[0]
    metric = WayToTruth(Means())
    metric.update(truth, content, truth)
    assert float(metric.compute()) == pytest.approx(1)
    assert metric.count == 3


def test_a_collection_feeds_it_with_both_ends():
    collection = StyleMetricCollection({"way": WayToTruth(Means())})
    content, truth = pictures(0), pictures(1)
    collection.update(stylized=content, content=content, index=torch.arange(4))
    assert collection.compute() == {}
    collection.update(stylized=truth, content=content, truth=truth, index=torch.arange(4, 8))
    assert {key: float(value) for key, value in collection.compute().items()} == pytest.approx({"way_embedded": 1})


def test_numbers_that_do_not_fit_are_one_sentence():
    with pytest.raises(ImpastoError, match="4 stylized pictures and 2 true paintings"):
        WayToTruth(Means()).update(pictures(0), pictures(1), pictures(2, 2))
