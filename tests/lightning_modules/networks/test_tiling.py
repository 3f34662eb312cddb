import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_modules.networks.tiling import in_tiles


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
