"""How far the structure of a picture strayed from its content."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

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


class Shown(NamedTuple):
    """Pictures ``(B, 3, H, W)`` and what the encoder makes of them, by layer."""

    pictures: Tensor
    maps: Mapping[str, Tensor]


def shrunken_content_loss(
    encode: Callable[[Tensor], Mapping[str, Tensor]],
    painted: Shown,
    content: Shown,
    layers: Sequence[str],
    scales: Sequence[int],
    *,
    total: bool = False,
    shown: Tensor | None = None,
) -> Tensor:
    """Return the content loss, averaged over pictures that are shrunk by several factors.

    Where brush strokes are as large as things, shrunken pictures show the things and not the strokes.

    Args:
        encode: Returns the maps of ``layers`` of pictures ``(B, 3, H, W)``.
        painted: The stylised pictures.
        content: The contents.
        layers: See `content_loss`.
        scales: Factors; 1 takes the maps that are there.
        total: Sum over layers, as the released code does, instead of averaging.
        shown: Number of the content that each stylised picture shows, ``(B,)``; by default they come in pairs.

    Returns:
        A scalar, at least 0.
    """
    losses = []
    for scale in scales:
        maps, target = painted.maps, content.maps
        if scale != 1:
            with torch.no_grad():
                target = encode(F.avg_pool2d(content.pictures, scale))
            maps = encode(F.avg_pool2d(painted.pictures, scale))
        if shown is not None:
            target = {name: target[name][shown] for name in layers}
        losses.append(content_loss(maps, target, layers))
    mean = torch.stack(losses).mean()
    return len(layers) * mean if total else mean
