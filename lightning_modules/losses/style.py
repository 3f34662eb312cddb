"""How far the feature statistics of a picture are from those of its style."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.losses.statistics import channel_statistics

Statistics = tuple[Tensor, Tensor]


def style_loss(
    features: Mapping[str, Tensor],
    target: Mapping[str, Tensor | Statistics],
    eps: float = 1e-5,
    distance: Callable[[Tensor, Tensor], Tensor] = F.mse_loss,
) -> Tensor:
    """Return the squared distance of channel means and standard deviations, summed over layers.

    ``sum_l mean((mu(F_l) - mu(S_l))^2) + mean((sigma(F_l) - sigma(S_l))^2)``, means over samples and channels.

    Args:
        features: Layer name to ``(B, C, H, W)``; every layer in it counts.
        target: Layer name to the style's features ``(B, C, h, w)``, or to its ``(mean, std)`` from
            `channel_statistics`, so that a fixed style is measured once. More layers than in ``features`` are ignored.
        eps: As in `channel_statistics`.
        distance: Takes the place of the squared distance, for papers that write another norm.

    Returns:
        A scalar, at least 0, in squared feature units; 0 for equal statistics.

    Raises:
        ValueError: If a map is a single pixel.

    Source: Huang & Belongie 2017, eq. 13, with squared distances as in pytorch-AdaIN ``net.py``.
    """
    terms = []
    for name, maps in features.items():
        style = target[name]
        goal_mean, goal_std = style if isinstance(style, tuple) else channel_statistics(style, eps)
        mean, std = channel_statistics(maps, eps)
        terms.append(distance(mean, goal_mean) + distance(std, goal_std))
    return torch.stack(terms).sum()
