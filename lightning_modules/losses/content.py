"""How far the structure of a picture strayed from its content."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.losses.statistics import normalize_channels


def content_loss(
    features: Mapping[str, Tensor], target: Mapping[str, Tensor], layers: Sequence[str], eps: float = 1e-5
) -> Tensor:
    """Return the squared distance of normalised features, averaged over elements, samples and layers.

    ``1/L sum_l mean((norm(F_l) - norm(T_l))^2)``, where ``norm`` removes every channel's mean and standard deviation:
    what a style may change costs nothing.

    Args:
        features: Layer name to ``(B, C, H, W)``, of the stylised pictures.
        target: The same of the contents; gradients flow into it too unless it is detached.
        layers: The layers that count.
        eps: As in `channel_statistics`.

    Returns:
        A scalar in [0, 4 + O(1/HW)]; 0 for equal pictures.

    Raises:
        ValueError: If a map is a single pixel.

    Source: Park & Lee 2019 (SANet), eq. 8 with normalised features, as its public code and CLAST's do; they sum over
        layers, the mean keeps a weight's meaning when the layers change.
    """
    terms = [
        F.mse_loss(normalize_channels(features[name], eps), normalize_channels(target[name], eps)) for name in layers
    ]
    return torch.stack(terms).mean()
