import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_modules.networks.tiling import Computed, Moments, in_tiles


@pytest.mark.parametrize("tile", [1, 2, 3, 50])
def test_any_tile_gives_the_whole(tile):
    torch.manual_seed(0)
    fine = nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")
    coarse = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")

    def network(image, other):
        maps = fine(image)
        low = coarse(F.max_pool2d(maps, 2)) + other
        return [maps, low, F.interpolate(low, scale_factor=4.0)]

    inputs = [torch.rand(2, 3, 14, 20), torch.rand(2, 4, 7, 10)]
    with torch.no_grad():
        whole = network(*inputs)
        tiled = in_tiles(network, inputs, (7, 10), tile=tile, halo=2)
    for one, other in zip(whole, tiled, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_a_computed_map_is_asked_for_windows_in_its_own_pixels():
    whole = torch.arange(4.0 * 6).view(1, 1, 4, 6)
    asked = []

    def part(window):
        asked.append(window)
        top, bottom, left, right = window
        return whole[..., top:bottom, left:right]

    found = in_tiles(lambda maps: [maps + 1], [Computed((1, 1, 4, 6), part)], (2, 3), tile=2, halo=0)
    assert torch.equal(found[0], whole + 1)
    assert asked == [(0, 4, 0, 4), (0, 4, 4, 6)]


def test_moments_of_parts_are_those_of_the_whole():
    maps = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)) * 3 + 1000
    moments = Moments()
    for rows in maps.split([1, 12, 7], 2):
        for part in rows.split([29, 1], 3):
            moments.update(part)
    variance, mean = torch.var_mean(maps.double(), (2, 3), keepdim=True)
    for correction in (0, 1):
        unlike = variance * (599 / (600 - correction))
        found = moments.statistics(maps.double(), correction=correction, eps=0.25)
        assert torch.allclose(found[0], mean, rtol=1e-7)
        assert torch.allclose(found[1], (unlike + 0.25).sqrt(), rtol=1e-5)
    assert moments.statistics(maps)[0].dtype == torch.float32
