"""At what size `impasto stylize` paints a content: strokes keep their width, so that a smaller picture has fewer."""

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from lightning_modules.conditions import resized


@dataclass(frozen=True)
class Sizing:
    """What a user asks for; by default every content keeps its size.

    Attributes:
        size: Pixels of the shorter side.
        max_side: Pixels that the longer side has at most.
    """

    size: int | None = None
    max_side: int | None = None

    def of(self, size: tuple[int, int], *, even: bool = False) -> tuple[int, int]:
        """Return height and width of a painting.

        Args:
            size: Height and width of the content.
            even: Make both even, rounding down, where they are not the content's: every player shows such a clip.
        """
        scale = Fraction(1) if self.size is None else Fraction(self.size, min(size))
        if self.max_side is not None:
            scale = min(scale, Fraction(self.max_side, max(size)))
        if scale == 1:
            return size
        if even:
            height, width = (max(2, int(side * scale) // 2 * 2) for side in size)
        else:
            height, width = (max(1, round(side * scale)) for side in size)
        return height, width

    def fit(self, image: Tensor) -> Tensor:
        """Return ``(3, H, W)`` at that size."""
        return resized(image[None], self.of((image.shape[-2], image.shape[-1])))[0]


AS_THEY_ARE = Sizing()
