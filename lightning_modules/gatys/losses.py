"""Eq. 1 and eq. 3 to 5 of Gatys et al., as shares of the target's energy."""

from collections.abc import Mapping

import torch
from torch import Tensor


def gram_matrix(maps: Tensor) -> Tensor:
    """Return how channels go together, ``G_ij = sum_k F_ik F_jk / (H W)``.

    Args:
        maps: ``(C, H, W)``.

    Returns:
        ``(C, C)``, in squared feature units, whatever the size of the picture.

    Source: Gatys et al. 2016, eq. 3, by positions.
    """
    rows = maps.flatten(1)
    return rows @ rows.mT / rows.shape[1]


def share_of_energy(found: Tensor, wanted: Tensor) -> Tensor:
    """Return ``||found - wanted||^2 / ||wanted||^2``, a scalar; 0 where both are the same, 1 where nothing is found."""
    return (found - wanted).square().sum() / wanted.square().sum().clamp(min=torch.finfo(wanted.dtype).tiny)


def style_term(maps: Mapping[str, Tensor], grams: Mapping[str, Tensor]) -> Tensor:
    """Return the mean over layers of the share by which Gram matrices differ from the style's.

    Args:
        maps: Of the picture, ``(C, H, W)`` by layer.
        grams: Of the style, ``(C, C)`` by layer; every layer in it counts.

    Source: Gatys et al. 2016, eq. 4 and 5 with equal w_l; the division by the style's own energy takes the place of
        ``4 N^2 M^2``, whose effect depends on the network's scale.
    """
    return torch.stack([share_of_energy(gram_matrix(maps[name]), gram) for name, gram in grams.items()]).mean()
