"""Judges of a region alone: is it the painter's, and does it go where the words say?"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.base import smallest_side
from metrics.clip_score import CLIPDirectionalScore
from metrics.deception import DeceptionRate
from metrics.functional.pictures import as_pictures
from metrics.functional.region import region_crops


class RegionDeception(DeceptionRate):
    """The share of pictures whose region an artist classifier takes for the artist's own; see `DeceptionRate`.

    The classifier sees the mask's compact box, its rest filled from inside the mask; see
    `metrics.functional.region.region_crops`. Two figures belong beside it: the rate of the true paintings (its ceiling)
    and that of the untouched photographs (its floor), in the same regions.

    Source: Sanakoyeu et al. 2018, section 4.2; the crop is ours.
    """

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "prompt", "mask")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return f"{super().convention}, on the mask's compact box with the rest filled from inside"

    def values(  # type: ignore[override]  # a mask besides
        self, preds: Tensor, artists: Sequence[str] | Tensor, mask: Tensor
    ) -> Tensor:
        """Return 1 or 0 for every picture, nan for unknown artists; ``(B,)``, float64; as for `update`."""
        labels = artists if isinstance(artists, Tensor) else self.labels(artists)
        if not len(preds) == len(labels) == len(mask):
            raise ImpastoError(f"There are {len(preds)} pictures, {len(labels)} artists and {len(mask)} masks.")
        smallest = smallest_side(self._classifier.network, 1)
        crops = region_crops(as_pictures(preds, "judged", smallest), mask, smallest)
        judge = super().values
        values = [judge(crop[None], labels[place : place + 1]) for place, crop in enumerate(crops)]
        return torch.cat(values) if values else torch.empty(0, dtype=torch.float64)

    def update(  # type: ignore[override]  # as for `values`
        self, preds: Tensor, artists: Sequence[str] | Tensor, mask: Tensor
    ) -> None:
        """Count a batch of pictures.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            artists: The target artist's name, or its column ``(B,)`` with -1 for unknown, of every picture.
            mask: ``(B, 1, H, W)`` or ``(B, H, W)``, bool or in [0, 1].

        Raises:
            ImpastoError: If shape, type, range or number is wrong, a mask is empty, or a logit is nan or infinite.
        """
        labels = artists if isinstance(artists, Tensor) else self.labels(artists)
        self._count(labels, self.values(preds, labels, mask))


class RegionDirection(CLIPDirectionalScore):
    """The mean directional CLIP score of what lies under the mask, the rest black; see `CLIPDirectionalScore`.

    Source: Gal et al. 2022, eq. 3; LEAST, eq. 1, whose loss is 1 minus this.
    """

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "content", "prompt", "mask")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return f"{super().convention}, all black outside the mask"
