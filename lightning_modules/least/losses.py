"""What LEAST alone asks of its pictures; the direction of words is `losses.directional_clip`'s."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def feature_distance(
    features: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    distance: Literal["mse", "norm"],
    mask: Tensor | None = None,
) -> Tensor:
    """Return how far pictures are from their contents in a VGG's maps, summed over the layers.

    ``sum_l mean_m((F_l - T_l)^2)``, or ``sum_l ||F_l - T_l||_2`` for ``norm``.

    Args:
        features: Layer name to ``(B, C, h, w)``, of the painted crops.
        target: The same of the contents' crops.
        distance: Which of the two.
        mask: ``(B, 1, H, W)`` in [0, 1], of the crops: only there, weighed at the size of each map. None is everywhere.

    Returns:
        ``(B,)``, at least 0.

    Source: LEAST, eq. 3 (``norm``); CLIPstyler's and LEAST's public code (``mse``).
    """
    terms = []
    for name, map_ in features.items():
        squared = (map_ - target[name]).square()
        weight = torch.ones_like(squared[:, :1])
        if mask is not None:
            weight = F.adaptive_avg_pool2d(mask, (squared.shape[-2], squared.shape[-1]))
        weighed = (squared * weight).flatten(1)
        if distance == "norm":
            terms.append(weighed.sum(1).clamp(min=1e-24).sqrt())
        else:
            terms.append(weighed.sum(1) / (squared.shape[1] * weight.flatten(1).sum(1)).clamp(min=1e-12))
    return torch.stack(terms).sum(0)


def rough_norms(images: Tensor) -> Tensor:
    """Return the roughness of pictures: four norms of differences, to the right, below and along both diagonals.

    Args:
        images: ``(B, C, H, W)``.

    Returns:
        ``(B,)``, at least 0; it grows with the side and not with the area.

    Source: CLIPstyler's public code, which LEAST's uses for eq. 4.

    Examples:
        >>> rough_norms(torch.tensor([[[[0.0, 3.0], [0.0, 3.0]]]])).round(decimals=3)  # sqrt(18) + 0 + 3 + 3
        tensor([10.2430])
    """
    differences = (
        images[..., :, 1:] - images[..., :, :-1],
        images[..., 1:, :] - images[..., :-1, :],
        images[..., 1:, 1:] - images[..., :-1, :-1],
        images[..., 1:, :-1] - images[..., :-1, 1:],
    )
    return torch.stack([part.flatten(1).square().sum(1).clamp(min=1e-24).sqrt() for part in differences]).sum(0)


def over_patches(losses: Tensor, reduction: Literal["mean", "sum"]) -> Tensor:
    """Reduce ``(B, C)`` losses of patches to ``(B,)``: eq. 2 sums, the public code averages."""
    return losses.sum(1) if reduction == "sum" else losses.mean(1)
