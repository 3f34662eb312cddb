"""Distance of feature statistics."""

from collections.abc import Mapping

import torch
from torch import Tensor

from metrics.functional.precision import has_float64


def style_distance(features: Mapping[str, Tensor], target: Mapping[str, Tensor], eps: float = 1e-5) -> Tensor:
    """Return the squared distance of channel means and standard deviations of every pair, summed over layers.

    ``sum_l mean_c((mu(F_lc) - mu(S_lc))^2) + mean_c((sigma(F_lc) - sigma(S_lc))^2)``, ``sigma = sqrt(var + eps)`` with
    the unbiased variance. Moments are summed in float64: maps of hundreds of pixels a side lose digits otherwise.

    Args:
        features: Layer name to ``(B, C, H, W)``.
        target: The same layers as ``(B, C, h, w)``; height and width may differ.
        eps: Added to the variance, in squared feature units.

    Returns:
        ``(B,)``, float64, at least 0, in squared feature units; exactly 0 for equal maps.

    Raises:
        ValueError: If a map is a single pixel, which has no standard deviation.

    Source: Huang & Belongie 2017, eq. 13, with squared distances as in pytorch-AdaIN ``net.py``.
    """
    distances = []
    for name, maps in features.items():
        (mean, std), (goal_mean, goal_std) = _moments(maps, eps), _moments(target[name], eps)
        distances.append((mean - goal_mean).square().mean(1) + (std - goal_std).square().mean(1))
    return torch.stack(distances).sum(0)


def _moments(maps: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    if maps.shape[-2] * maps.shape[-1] < 2:
        raise ValueError(f"a single-pixel feature map has no standard deviation, got {tuple(maps.shape)}")
    maps = maps if has_float64(maps.device) else maps.cpu()
    shift = maps.mean((2, 3), keepdim=True)
    centred = maps - shift
    # Sums in float64 over centred float32 maps: as exact as a cast of the maps, at a third of its time.
    n = maps.shape[-2] * maps.shape[-1]
    first = centred.sum((2, 3), dtype=torch.float64)
    second = centred.square().sum((2, 3), dtype=torch.float64)
    variance = (second - first.square() / n) / (n - 1)
    return shift.double().flatten(1) + first / n, variance.clamp(min=0).add(eps).sqrt()
