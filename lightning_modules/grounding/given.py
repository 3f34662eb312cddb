"""Regions that the user shows: a mask, a box, points. The phrase plays no part."""

from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.grounding.regions import Region, region_of
from lightning_modules.grounding.segmenters import Hint, Segmenter


class GivenMask:
    """A mask, as it is.

    Args:
        mask: ``(1, H, W)``, float in [0, 1].
        source: What it is called.
    """

    def __init__(self, mask: Tensor, source: str = "mask") -> None:
        self._mask, self._source = mask, source

    def ground(self, image: Tensor, phrase: str) -> list[Region]:  # noqa: ARG002
        """Return the mask's region: see `Grounder`.

        Raises:
            ImpastoError: If the mask is empty, or not of the picture's size.
        """
        if self._mask.shape != (1, *image.shape[-2:]):
            height, width = image.shape[-2:]
            raise ImpastoError(f"The mask must be (1, {height}, {width}), got {tuple(self._mask.shape)}.")
        if not (self._mask > 0).any():
            raise ImpastoError("The mask is empty: there is nowhere to paint.")
        return [region_of(self._mask, 1.0, self._source)]


class GivenHint:
    """What a box or points show.

    Args:
        hint: Box and points, in pixels.
        segmenter: Finds the outline.
    """

    def __init__(self, hint: Hint, segmenter: Segmenter) -> None:
        self._hint, self._segmenter = hint, segmenter

    def ground(self, image: Tensor, phrase: str) -> list[Region]:  # noqa: ARG002
        """Return the thing's region: see `Grounder`."""
        return [self._segmenter.segment(image, self._hint)]
