"""Features of CLIP and of the style descriptor that grew out of it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.clip import CLIPEncoder
from metrics.extractors.base import FeatureExtractor, check_side
from metrics.functional.checks import one_of

Preprocess = Literal["cmmd", "clip"]
_PREPROCESSES: dict[Preprocess, str] = {
    "cmmd": "centre square, then antialiased bicubic, rounded to 8 bits",
    "clip": "antialiased bicubic of the short side, then centre square",
}


class ClipFeatures(FeatureExtractor):
    """The picture tower of a CLIP.

    Args:
        clip: The CLIP.
        preprocess: ``cmmd`` crops the square first and rounds what it resized, as CMMD's authors do with 8-bit files;
            ``clip`` resizes first, as CLIP's authors do.

    Attributes:
        clip: As given, for those who need its texts.
        preprocess: As given.

    Raises:
        ImpastoError: If there is no such preprocessing.

    Source: Jayasumana et al. 2024 (CMMD), the authors' ``io_util.py``.
    """

    def __init__(self, clip: CLIPEncoder, preprocess: Preprocess = "cmmd") -> None:
        one_of(preprocess, Preprocess, "preprocessing")
        super().__init__(clip, f"{_PREPROCESSES[preprocess]}, side {clip.image_size}")
        self.preprocess: Preprocess = preprocess

    @property
    def clip(self) -> CLIPEncoder:
        """Return the CLIP."""
        network: Any = self.network
        return network  # type: ignore[no-any-return]

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return ``projected``, the vectors ``(B, D)`` in the space of pictures and texts, not normalised.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1], any size.
            taps: ``("projected",)``.

        Raises:
            ImpastoError: If another tap is asked for.
        """
        seen = _square_first(images, self.clip.image_size) if self.preprocess == "cmmd" else images
        return _only("projected", taps, lambda: self.clip.encode_image(seen))


class CSDFeatures(FeatureExtractor):
    """Style vectors.

    Args:
        network: ``images (B, 3, H, W) in [0, 1] -> (B, D)`` of unit length, as `lightning_modules.weights.load_csd`
            returns it; its attribute ``smallest``, where it has one, is the side in pixels that it needs.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, "that of the network")

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Return ``style``, vectors of unit length, ``(B, D)``.

        Args:
            images: ``(B, 3, H, W)``, RGB in [0, 1]; a CSD takes any size, a stand-in sides of 16 pixels on.
            taps: ``("style",)``.

        Raises:
            ImpastoError: If another tap is asked for, or the pictures are too small for it.
        """
        check_side(images, getattr(self.network, "smallest", 1), "style")
        return _only("style", taps, lambda: self.network(images))


def _only(tap: str, taps: Sequence[str], compute: Callable[[], Tensor]) -> dict[str, Tensor]:
    if set(taps) - {tap}:
        raise ImpastoError(f"This extractor has the features {tap!r} alone, not {', '.join(map(repr, taps))}.")
    return {tap: compute()}


def _square_first(images: Tensor, side: int) -> Tensor:
    levels = images.mul(255).round()
    height, width = levels.shape[-2:]
    length = min(height, width)
    top, left = (height - length) // 2, (width - length) // 2
    square = levels[..., top : top + length, left : left + length]
    if length != side:
        # PIL resizes the rows, rounds and clips, then resizes the columns.
        for size in ((length, side), (side, side)):
            square = F.interpolate(square, size, mode="bicubic", antialias=True, align_corners=False)
            square = square.round().clamp(0, 255)
    return square / 255
