"""Inception features as FID, KID, SIFID and ArtFID read them."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.extractors.base import FeatureExtractor, check_side
from metrics.extractors.front_ends import FrontEnd, describe, prepare


class InceptionFeatures(FeatureExtractor):
    """An Inception-v3, or what stands in for it, behind one of the front ends.

    Args:
        network: As `lightning_modules.weights.load_inception` returns it, with its ``channels`` and ``smallest``.
        front_end: How pictures reach it; see `metrics.extractors.front_ends.prepare`.

    Attributes:
        front_end: As given.
        channels: Channels of every tap: ``conv2d_2b`` and ``conv2d_4a`` are maps, before the first and the second
            max-pool (pytorch-fid's features of the same width come after it), ``pool3`` is a vector.

    Raises:
        ImpastoError: If there is no such front end.
    """

    def __init__(self, network: nn.Module, front_end: FrontEnd = "clean") -> None:
        super().__init__(network, describe(front_end))
        self.front_end: FrontEnd = front_end
        self.channels: dict[str, int] = dict(self._traits.channels)

    @property
    def _traits(self) -> Any:
        return self.network

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return the features asked for; the pass stops at the deepest of them.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1].
            taps: Of ``channels``.

        Returns:
            Maps ``(B, C, h, w)`` and, for ``pool3``, ``(B, D)``.

        Raises:
            ImpastoError: If there is no such tap, or the pictures are too small for it.
        """
        prepared = prepare(images, self.front_end)
        for tap in taps:
            if tap not in self.channels:
                raise ImpastoError(f"Inception has no features {tap!r}: take one of {', '.join(self.channels)}.")
            check_side(prepared, self._traits.smallest[tap], tap)
        features: dict[str, Tensor] = self.network(prepared, taps)
        return features
