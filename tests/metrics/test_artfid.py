import math
import warnings

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.artfid import ArtFID


class Colours(nn.Module):
    source = "embedded"

    def forward(self, images, taps):
        return {tap: images.mean((2, 3)) for tap in taps}


class Gap(nn.Module):
    source = "random"

    def forward(self, a, b):
        return (a - b).abs().mean((1, 2, 3))


def pictures(seed, n):
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) ** (1 + seed / 2)


def definition(stylized, content, style):
    x, y = (images.double().mean((2, 3)).numpy() for images in (stylized, style))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        root = np.trace(linalg.sqrtm(np.cov(x, rowvar=False) @ np.cov(y, rowvar=False))).real
    spread = np.trace(np.cov(x, rowvar=False)) + np.trace(np.cov(y, rowvar=False)) - 2 * root
    distance = ((x.mean(0) - y.mean(0)) ** 2).sum() + spread
    return (1 + float((stylized - content).abs().double().mean())) * (1 + distance)


@pytest.mark.parametrize("parts", [(12,), (5, 7), (1, 4, 4, 3)])
def test_every_style_counts_once_however_often_it_was_used(parts):
    stylized, content, styles = pictures(0, 12), pictures(1, 12), pictures(2, 6)
    used = styles[torch.tensor([0, 1, 2, 3, 4, 5, 0, 0, 3, 3, 1, 0])]
    metric = ArtFID(Colours(), Gap())
    for x, c, s in zip(*(images.split(parts) for images in (stylized, content, used)), strict=True):
        metric.update(x, real=False, content=c)
        metric.update(s, real=True)
    value = float(metric.compute())
    assert abs(value - definition(stylized, content, styles)) < 1e-6
    assert metric.sizes == (12, 6)
    assert "12 generated and 6 different reference pictures" in metric.convention
    assert abs((1 + metric.content_distance) * (1 + metric.style_distance) - value) < 1e-12
    metric.reset()
    assert math.isnan(metric.content_distance)
    assert metric.sizes is None


def test_identity_is_one():
    metric = ArtFID(Colours(), Gap())
    metric.update(pictures(0, 5), real=False, content=pictures(0, 5))
    metric.update(pictures(0, 5), real=True)
    assert float(metric.compute()) == 1


def test_a_repeated_sample_counts_once_for_content_and_for_style():
    stylized, content, styles = pictures(0, 6), pictures(1, 6), pictures(2, 6)
    metric = ArtFID(Colours(), Gap())
    index = torch.tensor([0, 1, 2, 3, 4, 5, 0, 0])
    metric.update(stylized[index], real=False, index=index, content=content[index])
    metric.update(styles[index], real=True, index=index)
    assert abs(float(metric.compute()) - definition(stylized, content, styles)) < 1e-6


def test_known_features_count_as_pictures_do():
    stylized, content, styles = pictures(0, 6), pictures(1, 6), pictures(2, 6)
    metric = ArtFID(Colours(), Gap())
    distance = metric.content_distances((stylized * 255).byte(), (content * 255).byte())
    assert torch.allclose(distance, Gap()(*((x * 255).byte() / 255 for x in (stylized, content))))
    metric.update_features(Colours()(stylized, metric.taps), real=False, content_distance=Gap()(stylized, content))
    metric.update_features(Colours()(styles, metric.taps), real=True)
    assert abs(float(metric.compute()) - definition(stylized, content, styles)) < 1e-6
    shared = ArtFID(Colours(), Gap())
    sides = [Colours()(images, shared.taps) for images in (stylized, styles)]
    shared.update_shared(*sides, {"stylized": stylized, "content": content, "index": torch.arange(6)})
    assert float(shared.compute()) == float(metric.compute())


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_what_has_no_artfid_is_refused():
    metric = ArtFID(Colours(), Gap())
    assert math.isnan(metric.style_distance)
    with pytest.raises(ImpastoError, match="needs the content of every stylised picture"):
        metric.update(pictures(0, 3), real=False)
    with pytest.raises(ImpastoError, match="needs the content of every stylised picture"):
        metric.update_features({"pool3": torch.rand(3, 3)}, real=False, content_distance=torch.rand(2))
    with pytest.raises(ImpastoError, match="stylized and content pictures differ in shape"):
        metric.update(pictures(0, 3), real=False, content=pictures(0, 2))
    with pytest.raises(ImpastoError, match="at least 2 reference pictures, there are 0"):
        metric.compute()
    metric.reset()
    metric.update(pictures(0, 3), real=False, content=pictures(0, 3))
    metric.update(pictures(0, 1).expand(4, -1, -1, -1), real=True)
    with pytest.raises(ImpastoError, match="at least 2 reference pictures, there are 1, each counted once"):
        metric.compute()
    assert metric.state_dict() == {}
    assert list(metric.parameters()) == []
