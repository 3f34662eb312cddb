"""What reaches the published LPIPS: pictures in [-1, 1], though everything here is in [0, 1]."""

import pytest
import torch

from lightning_modules.weights import load_lpips
from metrics.perceptual import PerceptualDistance
from metrics.temporal import TemporalLPIPS


def pictures(seed, n=2):
    return torch.rand(n, 3, 32, 40, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("trunk", ["alex", "vgg"])
def test_lpips_sees_pictures_in_its_own_range(trunk):
    network = load_lpips("random", trunk=trunk)
    seen = []
    network.network.scaling_layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    a, b = pictures(0), pictures(1)
    metric = PerceptualDistance(network)
    metric.update(a, b)
    expected = network.network(2 * a - 1, 2 * b - 1).double().mean()  # as the package takes them
    assert all(torch.equal(x, 2 * y - 1) for x, y in zip(seen[:2], (a, b), strict=True))
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-6)
    seen.clear()
    clip = TemporalLPIPS(network)
    clip.update(torch.stack([a[0], b[0]]), torch.zeros(2))
    assert all(torch.equal(x, 2 * y[:1] - 1) for x, y in zip(seen[0].split(1), (a, b), strict=True))
