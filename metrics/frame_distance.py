"""A perceptual distance in two steps, so that a frame which stands in two pairs goes through the network once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.networks.vgg import PerceptualDistance
from lightning_modules.weights import LPIPS
from metrics.base import Held


class FrameDistance:
    """Splits a perceptual distance into the features of one picture and the distance of two sets of features.

    Those that `lightning_modules.weights.load_lpips` returns are split; of any other network the picture itself is the
    features, and the network sees both in ``distance``.

    Args:
        network: ``(a, b) -> (B,)`` on pictures ``(B, 3, H, W)``, RGB in [0, 1].

    Attributes:
        held: The whole network.
    """

    def __init__(self, network: nn.Module) -> None:
        self.held = Held(network)

    def describe(self, images: Tensor) -> list[Tensor]:
        """Return the features of pictures ``(B, 3, H, W)``, float32 in [0, 1]; ``B`` comes first in each."""
        network = self.held.on(images.device)
        if isinstance(network, PerceptualDistance):
            maps = network.encoder(images, network.layers)
            return [F.normalize(maps[layer], dim=1) for layer in network.layers]
        trunk = _published(network)
        if trunk is not None:
            import lpips  # slow to import, but loaded with the network

            maps = trunk.net(trunk.scaling_layer(2 * images - 1))
            return [lpips.normalize_tensor(x) for x in maps]
        return [images]

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Return the distance of every pair, ``(B,)``, from what ``describe`` made of its two sides."""
        network = self.held.on(a[0].device)
        if isinstance(network, PerceptualDistance):
            return torch.stack([(x - y).square().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]).mean(0)
        trunk = _published(network)
        if trunk is not None:
            layers = zip(trunk.lins, a, b, strict=True)
            return torch.stack([weights((x - y).square()).mean((1, 2, 3)) for weights, x, y in layers]).sum(0)
        distance: Tensor = network(a[0], b[0])
        return distance.flatten()


def _published(network: nn.Module) -> Any:
    """Return the ``lpips.LPIPS`` inside; None where there is something else."""
    inner = network.network if isinstance(network, LPIPS) else None
    return inner if inner is not None and hasattr(inner, "lins") else None
