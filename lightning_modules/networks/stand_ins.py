"""Small networks in the places of those that only a download brings, with taps of the same names."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.networks.vgg import VGGEncoder

INCEPTION_LAYERS = {"conv2d_2b": ("relu1_2",), "conv2d_4a": ("relu2_2",), "pool3": ("relu4_1", "relu5_1")}
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class InceptionStandIn(FrozenNetwork):
    """A VGG behind the taps of `lightning_modules.networks.inception.Inception`.

    Args:
        encoder: The VGG.

    Attributes:
        channels: Channels of every tap.
        smallest: Side in pixels that each tap needs.
    """

    def __init__(self, encoder: VGGEncoder) -> None:
        super().__init__(encoder.source)
        self.encoder = encoder
        self.channels = {
            tap: sum(encoder.channels[layer] for layer in layers) for tap, layers in INCEPTION_LAYERS.items()
        }
        self.smallest = {"conv2d_2b": 1, "conv2d_4a": 2, "pool3": 16}
        self.freeze()

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return the features asked for.

        Args:
            images: ``(B, 3, H, W)``, RGB scaled to [-1, 1] as for an Inception.
            taps: ``conv2d_2b`` and ``conv2d_4a`` are maps before the first and second max-pool, ``pool3`` the means
                over space of two deep layers, ``(B, D)``.
        """
        maps = self.encoder((images + 1) / 2, [layer for tap in taps for layer in INCEPTION_LAYERS[tap]])
        features = {}
        for tap in taps:
            found = [maps[layer] for layer in INCEPTION_LAYERS[tap]]
            features[tap] = torch.cat([m.mean((2, 3)) for m in found], dim=1) if tap == "pool3" else found[0]
        return features


class StyleStandIn(FrozenNetwork):
    """Channel means and standard deviations of a VGG in the place of a style descriptor.

    Every layer's vector has unit length before the layers are joined, so that none outweighs the others.

    Args:
        encoder: The VGG.

    Attributes:
        embed_dim: Length of a style vector.
        smallest: Side in pixels that the deepest layer needs.
    """

    def __init__(self, encoder: VGGEncoder) -> None:
        super().__init__(encoder.source)
        self.encoder = encoder
        self.smallest = 16
        self.embed_dim = 2 * sum(encoder.channels[layer] for layer in STYLE_LAYERS)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Return style vectors of unit length, ``(B, D)``, of ``(B, 3, H, W)`` in [0, 1]; sides of `smallest` on."""
        maps = self.encoder(images, STYLE_LAYERS)
        vectors = []
        for layer in STYLE_LAYERS:
            flat = maps[layer].flatten(2)
            moments = torch.cat((flat.mean(2), flat.std(2, unbiased=False)), dim=1)
            vectors.append(F.normalize(moments, dim=1))
        return F.normalize(torch.cat(vectors, dim=1), dim=1)
