"""Swapping Autoencoder's patch discriminators in plain layers, with NeAT's Sobel maps, window by window."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.neat.patch_discriminator import CoOccurrenceDiscriminator, ResidualBlock
from lightning_modules.neat.patch_pair import PatchSettings

Groups = dict[str, Tensor]


def cut(images: Tensor, guide: Tensor, windows: Tensor, settings: PatchSettings) -> Groups:
    """Return simple and complex patches ``(B, each, 3, size, size)``, window by window."""
    edges = sobel(guide)
    groups: dict[str, list[Tensor]] = {"patch_simple": [], "patch_complex": []}
    for picture, map_, places in zip(images, edges, windows, strict=True):
        scores = torch.stack([_mean_inside(map_, place) for place in places])
        order = scores.argsort()
        for name, chosen in zip(groups, (order[: settings.each], order[-settings.each :]), strict=True):
            groups[name].append(torch.cat([_crop(picture, places[k], settings.size) for k in chosen]))
    return {name: torch.stack(patches) for name, patches in groups.items()}


@torch.no_grad()
def sobel(images: Tensor) -> Tensor:
    """Return how steep the luma is, ``(B, H, W)``."""
    light = (images * images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    kernel = images.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    slopes = F.conv2d(F.pad(light, (1, 1, 1, 1), mode="replicate"), torch.stack([kernel, kernel.T])[:, None])
    return slopes.square().sum(1).sqrt()


def _mean_inside(edges: Tensor, window: Tensor) -> Tensor:
    shares = []
    for side, centre, half in zip(edges.shape, window[:2], window[2:].abs(), strict=True):
        low, high = (1 + centre - half) * side / 2, (1 + centre + half) * side / 2
        pixel = torch.arange(side, device=edges.device)
        shares.append((torch.minimum(high, pixel + 1) - torch.maximum(low, pixel)).clamp_min(0).to(edges.dtype))
    return shares[0] @ edges @ shares[1] / (shares[0].sum() * shares[1].sum())


def _crop(picture: Tensor, window: Tensor, size: int) -> Tensor:
    centre_y, centre_x, half_y, half_x = window.to(picture.dtype)
    zero = torch.zeros_like(half_x)
    matrix = torch.stack([torch.stack([half_x, zero, centre_x]), torch.stack([zero, half_y, centre_y])])[None]
    grid = F.affine_grid(matrix, [1, 3, size, size], align_corners=False)
    return F.grid_sample(picture[None], grid, padding_mode="border", align_corners=False)


class PlainJudge:
    """A patch discriminator of StyleGAN2's layers: scaled weights, biases and gains apart, blurs in the open.

    Args:
        judge: Whose weights are used.
    """

    def __init__(self, judge: nn.Module) -> None:
        assert isinstance(judge, CoOccurrenceDiscriminator)  # noqa: S101
        self.judge = judge

    def features(self, patches: Tensor) -> Tensor:
        """Map patches ``(B, n, 3, size, size)`` to ``(B, n, D)``."""
        trunk = self.judge.trunk
        maps = _rectified(_scaled(trunk[0], 2 * patches.flatten(0, 1) - 1, padding=1), trunk[0])
        for layer in trunk:
            if isinstance(layer, ResidualBlock):
                maps = _residual(layer, maps)
        return _rectified(_scaled(trunk[-2], maps), trunk[-2]).flatten(1).unflatten(0, patches.shape[:2])

    def score(self, known: Tensor, features: Tensor) -> Tensor:
        """Judge ``(B, n, D)`` beside ``(B, D)``."""
        hidden = torch.cat([known.unsqueeze(1).expand_as(features), features], 2)
        layers = [self.judge.pair, *(layer for layer in self.judge.judge if hasattr(layer, "weight"))]
        for layer in layers[:-1]:
            hidden = 2**0.5 * F.leaky_relu(F.linear(hidden, _weight(layer), layer.bias), 0.2)  # type: ignore[arg-type]
        return F.linear(hidden, _weight(layers[-1]), layers[-1].bias).squeeze(2)  # type: ignore[arg-type]


def _residual(block: ResidualBlock, maps: Tensor) -> Tensor:
    hidden, kept, stride = _rectified(_scaled(block.first, maps, padding=1), block.first), maps, 1
    if maps.shape[-1] >= 8:
        hidden, kept, stride = _low_pass(hidden, 2), _low_pass(maps, 1), 2
    hidden = _rectified(_scaled(block.second, hidden, stride=stride, padding=2 - stride), block.second)
    return (hidden + _scaled(block.skip, kept, stride=stride)) / 2**0.5


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)  # noqa: S101
    return weight / math.sqrt(weight[0].numel())


def _scaled(layer: nn.Module, maps: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(maps, _weight(layer), stride=stride, padding=padding)


def _rectified(maps: Tensor, layer: nn.Module) -> Tensor:
    bias = layer.bias
    assert isinstance(bias, Tensor)  # noqa: S101
    return 2**0.5 * F.leaky_relu(maps + bias.view(1, -1, 1, 1), 0.2)


def _low_pass(maps: Tensor, padding: int) -> Tensor:
    taps = maps.new_tensor([1, 3, 3, 1]) / 8
    kernel = taps.outer(taps).expand(maps.shape[1], 1, 4, 4)
    return F.conv2d(maps, kernel, padding=padding, groups=maps.shape[1])
