import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from lightning_modules.errors import ImpastoError
from metrics.sifid import SIFID


class Maps(nn.Module):
    """Two convolutions with Inception's strides, under Inception's names."""

    source = "random"

    def __init__(self, channels=6):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Conv2d(3, channels, 3, stride=2)
        self.second = nn.Conv2d(channels, channels, 3, stride=2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, images, taps):
        first = torch.relu(self.first(images))
        maps = {"conv2d_2b": first, "conv2d_4a": self.second(first)}
        return {tap: maps[tap] for tap in taps}


def pictures(seed, n=3, height=40, width=32):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def definition(a, b, tap):
    values = []
    for x, y in zip(a, b, strict=True):
        with torch.no_grad():
            x, y = (Maps()(image[None], [tap])[tap][0].flatten(1).double().numpy() for image in (x, y))
        root = linalg.sqrtm(np.cov(x) @ np.cov(y))
        spread = np.trace(np.cov(x)) + np.trace(np.cov(y)) - 2 * np.trace(root).real
        values.append(((x.mean(1) - y.mean(1)) ** 2).sum() + spread)
    return values


@pytest.mark.filterwarnings("ignore:.*sqrtm:DeprecationWarning")
@pytest.mark.parametrize(("channels", "tap"), [(64, "conv2d_2b"), (192, "conv2d_4a")])
def test_equals_the_definition_pair_by_pair(channels, tap):
    a, b = pictures(0), pictures(1, height=27, width=50)
    expected = definition(a, b, tap)
    metric = SIFID(Maps(), channels)
    assert np.allclose(metric.values(a, b).numpy(), expected, rtol=1e-6)
    for parts in ((3,), (1, 2)):
        metric.reset()
        for x, y in zip(a.split(parts), b.split(parts), strict=True):
            metric.update(x, y)
        assert abs(float(metric.compute()) - np.mean(expected)) < 1e-6 * np.mean(expected)


@pytest.mark.parametrize("channels", [64, 192])
def test_identity(channels):
    flat = torch.full((1, 3, 40, 32), 0.25)
    stripes = flat.clone()
    stripes[..., ::2] = 1
    small = pictures(2, height=23, width=23)  # fewer places than channels: rank-deficient
    for images in (pictures(0), flat, stripes, small, pictures(0).half(), (pictures(0) * 255).byte()):
        assert SIFID(Maps(16), channels).values(images, images.clone()).tolist() == [0] * len(images)
    gap = SIFID(Maps(16), channels).values(flat, flat + 0.5)
    assert float(gap) > 0


def test_half_precision_and_bytes():
    a, b = (pictures(seed).mul(255).round() for seed in (0, 1))
    whole = SIFID(Maps()).values(a / 255, b / 255)
    assert torch.allclose(SIFID(Maps()).values(a.byte(), b.byte()), whole, rtol=1e-9)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(SIFID(Maps()).values(a / 255, b / 255), whole, rtol=1e-9)
    halves = (a / 255).half(), (b / 255).half()
    expected = SIFID(Maps()).values(halves[0].float(), halves[1].float())
    assert torch.equal(SIFID(Maps()).values(*halves), expected)


def test_what_has_no_sifid_is_refused():
    with pytest.raises(ImpastoError, match="as many channels as 768: take one of 64, 192"):
        SIFID(Maps(), 768)
    with pytest.raises(ImpastoError, match="at least 23 pixels"):
        SIFID(Maps()).update(pictures(0, height=22), pictures(0))
    with pytest.raises(ImpastoError, match=r"3 stylized.* 2 style"):
        SIFID(Maps()).update(pictures(0), pictures(0, n=2))
    with pytest.raises(ImpastoError, match="at least 2 feature vectors on either side, got 1"):
        SIFID(Maps()).update_features({"conv2d_4a": torch.rand(1, 6, 1, 1)}, {"conv2d_4a": torch.rand(1, 6, 3, 3)})


def test_convention_names_the_channels():
    assert "192 channels" in SIFID(Maps()).convention
    assert "before the first max-pool" in SIFID(Maps(), 64).convention
    assert "random" in SIFID(Maps()).convention
