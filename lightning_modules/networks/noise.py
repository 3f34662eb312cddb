"""Noise that a style may hang its strokes on: a function of seed and place, and of nothing else."""

import torch
from torch import Tensor, nn

# Odd multipliers that spread rows, columns and seeds over 32 bits, and the factors of a two-round 32-bit mixer
# (Wellons 2018, "lowbias32").
_ROW, _COLUMN, _SEED = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
_ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B))
_LAST_SHIFT = 16
_BITS = 0xFFFFFFFF


def place_noise(seed: Tensor, height: int, width: int, origin: tuple[int, int] = (0, 0)) -> Tensor:
    """Return white noise of mean 0 and variance 1, uniformly distributed.

    A larger map begins with the smaller one, and the same seed gives the same noise on every device: tiles, frames of a
    video and resumed trainings agree.

    Args:
        seed: ``(B,)``, int64.
        height: Rows.
        width: Columns.
        origin: First row and column, where the map is a window of a larger one.

    Returns:
        ``(B, 1, height, width)``, float32, in [-sqrt(3), sqrt(3)].

    Examples:
        >>> seed = torch.tensor([7])
        >>> torch.equal(place_noise(seed, 4, 6)[..., :2, :3], place_noise(seed, 2, 3))
        True
    """
    top, left = origin
    rows = torch.arange(top, top + height, device=seed.device).view(1, -1, 1) * _ROW
    columns = torch.arange(left, left + width, device=seed.device).view(1, 1, -1) * _COLUMN
    x = (rows + columns + seed.view(-1, 1, 1) * _SEED) & _BITS
    for shift, factor in _ROUNDS:
        x = ((x ^ (x >> shift)) * factor) & _BITS  # products wrap around in int64, and leave the lower half right
    x = x ^ (x >> _LAST_SHIFT)
    return ((x >> 8).float() + 0.5).mul(2.0**-23).sub(1).mul(3**0.5).unsqueeze(1)  # 24 bits are exact in float32


class StyledNoise(nn.Module):
    """Add noise to feature maps, as strong in every channel as the style wants it.

    In a flat sky a convolutional generator has nothing to hang strokes on, and invents streaks from its own borders.

    Args:
        style_dim: Length of the style code.
        channels: Channels of the maps.
        number: Of the layer, so that no two layers share their noise.

    Source: Karras et al. 2019 (StyleGAN), section 3.2, with a strength that the style sets; Ulyanov et al. 2016
        (texture networks), section 3.1, for noise as what texture is made of.
    """

    def __init__(self, style_dim: int, channels: int, number: int) -> None:
        super().__init__()
        self.number = number
        self.strength = nn.Linear(style_dim, channels)
        nn.init.normal_(self.strength.weight, std=0.02)
        nn.init.zeros_(self.strength.bias)

    def forward(self, features: Tensor, style: Tensor, seed: Tensor, origin: tuple[int, int] = (0, 0)) -> Tensor:
        """Return ``(B, channels, H, W)``, given maps of that shape, codes ``(B, style_dim)`` and seeds ``(B,)``.

        ``origin`` is the first row and column of the maps, where they are a window of larger ones.
        """
        height, width = features.shape[-2:]
        noise = place_noise(seed + self.number, height, width, origin)
        return torch.addcmul(features, self.strength(style)[..., None, None], noise.to(features))
