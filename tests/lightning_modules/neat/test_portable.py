"""What the content prior computes in a graph is what it computes otherwise."""

from dataclasses import replace

import pytest
import torch

from lightning_modules.neat.filters import bilateral_filter, gaussian_blur
from lightning_modules.neat.portable import power_in_graph
from lightning_modules.neat.prior import PriorSettings, colour_statistics, content_prior, recolour


@pytest.fixture
def exporting(monkeypatch):
    """Return a function that calls another one as while a graph is exported."""

    def call(function, *arguments, **settings):
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_exporting", lambda: True)
            return function(*arguments, **settings)

    return call


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("radius", "sigma"), [(3.0, 5.0), (2.5, 100.0)])
def test_the_bilateral_filter(exporting, radius, sigma):
    images = rand(1, 3, 16, 27)
    usual = bilateral_filter(images, radius, 0.3, sigma)
    assert torch.allclose(usual, exporting(bilateral_filter, images, radius, 0.3, sigma), atol=1e-5)
    assert float((usual - images).abs().mean()) > 0.01


@pytest.mark.parametrize("radius", [3.0, 1.5])
def test_the_gaussian(exporting, radius):
    images = rand(1, 3, 16, 27)
    assert torch.allclose(gaussian_blur(images, radius), exporting(gaussian_blur, images, radius), atol=1e-6)


@pytest.mark.parametrize("exponent", [0.5, -0.5])
def test_powers_of_matrices(exponent):
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(6, 3, 3, dtype=torch.float64, generator=generator)
    matrices = factors @ factors.mT
    matrices[3] = torch.eye(3)  # equal values
    matrices[4] = 0  # a picture of one colour
    matrices[5] = torch.ones(3, 3)  # grey pictures
    values, vectors = torch.linalg.eigh(matrices)
    goal = (vectors * values.clamp(1e-8, 1e8).pow(exponent).unsqueeze(1)) @ vectors.mT
    assert torch.allclose(power_in_graph(matrices, exponent, 1e-8, 1e8), goal, rtol=1e-5, atol=1e-8)


def test_the_prior_and_its_strength(exporting):
    content, style = rand(1, 3, 32, 40), 0.5 * rand(1, 3, 20, 24, seed=1)
    settings = PriorSettings(bilateral=5, strength=0.8)
    for share in (1.0, 0.4):
        usual = content_prior(content, colour_statistics(style), settings=settings, strength=share)
        graph = exporting(
            content_prior, content, colour_statistics(style), settings=settings, strength=torch.tensor(share)
        )
        assert torch.allclose(usual, graph, atol=1e-5)
    weaker = content_prior(content, colour_statistics(style), settings=replace(settings, strength=0.32))
    assert torch.allclose(usual, weaker, atol=1e-6)  # 0.4 of 0.8
    nothing = recolour(content, colour_statistics(style), strength=0.0)
    assert torch.allclose(nothing, content, atol=1e-6)
