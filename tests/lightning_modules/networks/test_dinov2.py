"""DINOv2 against its equations in float64, at sizes of its own and others."""

import pytest
import torch
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.dinov2 import DINOv2


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    found = DINOv2(width=128, depth=3, patch=14, grid=3).double()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return found


def norm(x, layer):
    middle = x.mean(-1, keepdim=True)
    spread = ((x - middle).square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return (x - middle) / spread * layer.weight + layer.bias


def attend(x, block):
    heads = []
    for head in range(2):
        rows = slice(64 * head, 64 * head + 64)
        query, key, value = (x @ p.weight[rows].T + p.bias[rows] for p in (block.query, block.key, block.value))
        shares = (query @ key.transpose(1, 2) / 8).exp()
        heads.append(shares / shares.sum(-1, keepdim=True) @ value)
    return torch.cat(heads, -1) @ block.out.weight.T + block.out.bias


def slow(network, images, positions):
    """Return the tokens behind every block, the first one among them."""
    mean, std = (torch.tensor(v).double().view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    patches = F.unfold((images - mean) / std, 14, stride=14).transpose(1, 2)
    x = patches @ network.patch.weight.flatten(1).T + network.patch.bias + positions
    x = torch.cat(((network.cls + network.cls_position).expand(len(x), -1, -1), x), 1)
    found = []
    for block in network.blocks:
        x = x + block.scale1 * attend(norm(x, block.norm1), block)
        hidden = norm(x, block.norm2) @ block.expand.weight.T + block.expand.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        x = x + block.scale2 * (hidden @ block.reduce.weight.T + block.reduce.bias)
        found.append(x)
    return found


def test_the_equations_at_the_size_of_its_positions(network):
    images = torch.rand(2, 3, 42, 42, generator=torch.Generator().manual_seed(0)).double()
    expected = slow(network, images, network.positions.flatten(2).transpose(1, 2))
    found = network(images, (0, 2))
    assert list(found) == [0, 2]
    for block, tokens in found.items():
        torch.testing.assert_close(tokens, expected[block][:, 1:])


def test_positions_are_interpolated_to_other_sizes(network):
    images = torch.rand(1, 3, 56, 28, generator=torch.Generator().manual_seed(0)).double()
    grid = network.positions
    # Cubic convolution with a = -0.75 between the centres of pixels, weights by hand.
    for axis, size in ((2, 4), (3, 2)):
        rows = []
        for place in range(size):
            at = (place + 0.5) * 3 / size - 0.5
            first = int(torch.tensor(at).floor())
            rows.append(
                sum(cubic(at - near) * grid.select(axis, min(max(near, 0), 2)) for near in range(first - 1, first + 3))
            )
        grid = torch.stack(rows, axis)
    expected = slow(network, images, grid.flatten(2).transpose(1, 2))
    torch.testing.assert_close(network(images, (1,))[1], expected[1][:, 1:])


def cubic(x, a=-0.75):
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


@pytest.mark.parametrize(("size", "blocks"), [((30, 28), (0,)), ((28, 28), (3,)), ((28, 28), ())])
def test_what_it_cannot_do_is_one_sentence(network, size, blocks):
    with pytest.raises(ImpastoError, match=r"multiples of 14|blocks 0 to 2"):
        network(torch.rand(1, 3, *size).double(), blocks)
