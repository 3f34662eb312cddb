import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as skimage_ssim

from metrics.functional.ssim import structural_similarity


def pair(seed, height=40, width=33, noise=0.2):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.standard_normal((3, height, width)), 1), 2)
    a = (smooth - smooth.min()) / np.ptp(smooth)
    return a, np.clip(a + noise * rng.standard_normal(a.shape), 0, 1)


def reference(a, b):
    """Wang's definition as scikit-image computes it, in float64."""
    settings = {"data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.mean([skimage_ssim(x, y, **settings) for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(40, 33), (12, 64)])
def test_equals_scikit_image(seed, size):
    a, b = pair(seed, *size)
    expected = reference(a, b)
    double = structural_similarity(*(torch.from_numpy(x)[None] for x in (a, b)))
    single = structural_similarity(*(torch.from_numpy(x)[None].float() for x in (a, b)))
    assert abs(float(double) - expected) < 1e-10
    assert abs(float(single) - expected) < 2e-5


def test_batches_do_not_matter():
    pairs = [pair(seed) for seed in range(3)]
    a, b = (torch.stack([torch.from_numpy(p[side]) for p in pairs]) for side in (0, 1))
    joined = structural_similarity(a, b)
    assert torch.equal(joined, torch.cat([structural_similarity(a[i : i + 1], b[i : i + 1]) for i in range(3)]))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_equal_pictures_are_exactly_one(level):
    constant = torch.full((1, 3, 20, 20), level)
    assert float(structural_similarity(constant, constant)) == 1
    noise = torch.rand(1, 3, 20, 20)
    assert float(structural_similarity(noise, noise)) == 1


def test_black_against_white():
    black, white = torch.zeros(1, 3, 16, 16).double(), torch.ones(1, 3, 16, 16).double()
    assert abs(float(structural_similarity(black, white)) - 1e-4 / (1 + 1e-4)) < 1e-12


def test_small_or_unequal_pictures_are_refused():
    with pytest.raises(ValueError, match="at least 11"):
        structural_similarity(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))
    with pytest.raises(ValueError, match="equal shapes"):
        structural_similarity(torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 21))
