import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data

from lightning_modules.neat import filters
from lightning_modules.neat.filters import bilateral_filter, default_sigma, gaussian_blur

LEVEL = 1 / 255


def photograph(height, width, top=0, left=0, name="astronaut"):
    array = getattr(data, name)()[top : top + height, left : left + width]
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None] / 255


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain_bilateral(image, radius, sigma_color, sigma_space):
    """The definition, pixel by pixel, with a border mirrored by NumPy."""
    channels, height, width = image.shape
    padded = np.pad(image, ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    result = np.zeros_like(image)
    for y, x in np.ndindex(height, width):
        total, sums = 0.0, np.zeros(channels)
        for dy, dx in product(range(-radius, radius + 1), repeat=2):
            if math.hypot(dy, dx) > radius:
                continue
            other = padded[:, y + radius + dy, x + radius + dx]
            gap = np.abs(other - image[:, y, x]).sum()
            weight = math.exp(-(dy**2 + dx**2) / (2 * sigma_space**2) - gap**2 / (2 * sigma_color**2))
            total += weight
            sums += weight * other
        result[:, y, x] = sums / total
    return result


@pytest.mark.parametrize(
    ("channels", "size", "radius"), [(3, (7, 10), 3), (1, (6, 5), 2), (3, (4, 3), 5), (2, (1, 6), 2)]
)
def test_bilateral_against_the_definition(channels, size, radius):
    images = noise(2, channels, *size)
    ours = bilateral_filter(images, radius, 0.3, 2.0)
    expected = np.stack([plain_bilateral(image, radius, 0.3, 2.0) for image in images.numpy()])
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=0, atol=1e-13)
    torch.testing.assert_close(bilateral_filter(images.float(), radius, 0.3, 2.0), ours.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(96, 130), (9, 40)])
def test_bilateral_against_opencv(size):
    cv2 = pytest.importorskip("cv2")
    image = photograph(*size, top=30, left=150)
    array = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
    ours = bilateral_filter(image)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - image[0].permute(1, 2, 0).numpy()).max() > 20 * LEVEL  # there is something to compare
    assert np.abs(ours * 255 - cv2.bilateralFilter(array, 25, 100, 100)).max() < 0.51  # rounded to whole levels
    floats = cv2.bilateralFilter(array.astype(np.float32) / 255, 25, 100 / 255, 100)
    assert np.abs(ours - floats).max() < 0.05 * LEVEL


@pytest.mark.parametrize(("size", "radius", "sigma"), [((20, 31), 3, None), ((12, 9), 2, 0.8), ((3, 1), 5, 3.0)])
def test_gaussian_against_scipy(size, radius, sigma):
    images = noise(2, 3, *size)
    ours = gaussian_blur(images, radius, sigma)
    deviation = 0.3 * (radius - 1) + 0.8 if sigma is None else sigma
    expected = ndimage.gaussian_filter(images.numpy(), deviation, mode="mirror", radius=radius, axes=(2, 3))
    torch.testing.assert_close(ours, torch.from_numpy(expected), rtol=0, atol=1e-13)
    torch.testing.assert_close(gaussian_blur(images.float(), radius, sigma), ours.float(), rtol=0, atol=1e-6)


def test_default_deviation_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    for radius in (5, 9):  # for fewer taps, OpenCV has tables of rounded numbers instead
        middle = noise(1, 1, 2 * radius + 1, 2 * radius + 1) * 0
        middle[..., radius, radius] = 1
        taps = torch.from_numpy(cv2.getGaussianKernel(2 * radius + 1, 0))
        line = gaussian_blur(middle.repeat(1, 1, 3, 3), radius)[0, 0, 3 * radius + 1, 2 * radius + 1 : 4 * radius + 2]
        torch.testing.assert_close(line, taps[:, 0] * taps[radius], rtol=0, atol=1e-7)
    assert default_sigma(3) == pytest.approx(1.4)


@pytest.mark.parametrize("run", [gaussian_blur, bilateral_filter])
def test_constants_stay(run):
    images = torch.tensor([0.1, 0.7, 1.0]).view(1, 3, 1, 1).expand(2, 3, 30, 17)
    torch.testing.assert_close(run(images), images, rtol=0, atol=1e-6)


def test_bilateral_keeps_an_edge_that_the_gaussian_does_not():
    images = torch.zeros(1, 3, 20, 40)
    images[..., 20:] = 1
    assert float((bilateral_filter(images) - images).abs().max()) < 1e-6
    assert float((gaussian_blur(images) - images).abs().max()) > 0.3


@pytest.mark.parametrize("run", [gaussian_blur, bilateral_filter])
@pytest.mark.parametrize("pixels", [400, 3000])
def test_tiles_do_not_show(run, pixels, monkeypatch):
    images = torch.cat(
        [photograph(50, 61, top=100, left=200), photograph(50, 61, name="coffee"), noise(1, 3, 50, 61).float()]
    )
    monkeypatch.setattr(filters, "_CPU_PIXELS", 10**9)
    whole = run(images)
    monkeypatch.setattr(filters, "_CPU_PIXELS", pixels)
    torch.testing.assert_close(run(images), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("run", [gaussian_blur, bilateral_filter])
def test_the_result_moves_continuously_with_the_radius(run):
    image = photograph(24, 31, top=80, left=200).double()
    radii = [0, 1e-9, 0.5, 1 - 1e-9, 1, 1 + 1e-9, 1.5, 2 - 1e-9, 2, 2.5, 3]
    results = [run(image, radius) for radius in radii]
    torch.testing.assert_close(results[0], image, rtol=0, atol=1e-15)
    for (first, one), (second, other) in zip(
        zip(radii, results, strict=True), zip(radii[1:], results[1:], strict=False), strict=False
    ):
        gap = float((one - other).abs().max())
        assert gap < 1e-6 if second - first < 1e-6 else gap > 1e-3, (first, second)


@pytest.mark.parametrize("run", [gaussian_blur, bilateral_filter])
def test_half_precision_autocast_and_gradients(run):
    image = photograph(20, 27, left=200)
    expected = run(image)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(run(image), expected, rtol=0, atol=0)
    half = run(image.bfloat16())
    torch.testing.assert_close(half, run(image.bfloat16().float()), rtol=0, atol=0)
    assert not run(image.clone().requires_grad_()).requires_grad
    strided = image.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(run(strided), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("run", "bad"), [(gaussian_blur, (-1, 1)), (gaussian_blur, (3, 0)), (bilateral_filter, (2, 0))]
)
def test_what_makes_no_filter_is_refused(run, bad):
    with pytest.raises(ValueError, match="radius"):
        run(torch.zeros(1, 3, 4, 4), *bad)
