"""Features of the independent panel: what a DINOv2 in the middle of its blocks says about texture and colour."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.clip import centre_square
from lightning_modules.networks.dinov2 import DINOv2
from metrics.extractors.base import FeatureExtractor

SIDE = 224
BLOCKS = (3, 5, 7)  # of twelve: the first ones see edges, the last ones things


class DINOv2Features(FeatureExtractor):
    """Means and deviations of the patches behind three blocks in the middle, each of unit length.

    Args:
        network: The DINOv2.
        side: Side in pixels that pictures are brought to first, so that paintings are seen as sharp as the pictures
            that they are compared with; None takes them as they are.
    """

    def __init__(self, network: DINOv2, side: int | None = None) -> None:
        first = "" if side is None else f"antialiased bicubic of the short side to {side}, then "
        super().__init__(network, f"{first}antialiased bicubic of the short side to {SIDE}, centre square")
        self.side = side

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return ``style``, ``(B, 6 D)``.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1], any size.
            taps: ``("style",)``.

        Raises:
            ImpastoError: If another tap is asked for.
        """
        if tuple(taps) != ("style",):
            raise ImpastoError(f"The only features of DINOv2 here are style, asked for were {', '.join(taps)}.")
        seen = images if self.side is None else centre_square(images, self.side).clamp(0, 1)
        found = self.network(centre_square(seen, SIDE).clamp(0, 1), BLOCKS)
        parts = [part for tokens in found.values() for part in (tokens.mean(1), tokens.std(1, correction=0))]
        return {"style": torch.cat([F.normalize(part, dim=1) for part in parts], 1)}
