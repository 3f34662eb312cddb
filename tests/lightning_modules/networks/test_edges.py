import math

import pytest
import torch

from lightning_modules.networks.edges import luma, sobel_magnitude


def slow_sobel(picture):
    """One picture ``(3, H, W)``, pixel by pixel."""
    _, height, width = picture.shape
    grey = 0.299 * picture[0] + 0.587 * picture[1] + 0.114 * picture[2]

    def at(y, x):
        return float(grey[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])

    found = torch.zeros(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            right = at(y - 1, x + 1) + 2 * at(y, x + 1) + at(y + 1, x + 1)
            left = at(y - 1, x - 1) + 2 * at(y, x - 1) + at(y + 1, x - 1)
            below = at(y + 1, x - 1) + 2 * at(y + 1, x) + at(y + 1, x + 1)
            above = at(y - 1, x - 1) + 2 * at(y - 1, x) + at(y - 1, x + 1)
            found[y, x] = math.sqrt((right - left) ** 2 + (below - above) ** 2)
    return found


@pytest.mark.parametrize("shape", [(6, 9), (7, 4), (1, 5)])
def test_it_is_the_length_of_the_sobel_gradient(shape):
    pictures = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sobel_magnitude(pictures)
    assert found.shape == (2, 1, *shape)
    for picture, magnitude in zip(pictures, found[:, 0], strict=True):
        assert torch.allclose(magnitude, slow_sobel(picture), atol=1e-12)


def test_no_gradient_passes_and_half_precision_does_not_last():
    pictures = torch.rand(1, 3, 5, 5, dtype=torch.bfloat16).requires_grad_()
    found = sobel_magnitude(pictures)
    assert not found.requires_grad
    assert found.dtype == torch.float32
    assert torch.equal(found, sobel_magnitude(pictures.detach().float()))


def test_grey_is_as_light_as_it_is():
    assert torch.allclose(luma(torch.full((2, 3, 4, 5), 0.3)), torch.full((2, 1, 4, 5), 0.3))
