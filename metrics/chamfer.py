"""The Chamfer distance of colours as a running mean."""

from torch import Tensor

from metrics.base import SampleMean
from metrics.functional.chamfer import Direction, Search, Space, check_options, color_chamfer

_DIRECTIONS: dict[Direction, str] = {
    "sum": "sum of the means over the pixels of both pictures",
    "half": "half the sum of the means over the pixels of both pictures",
    "preds_to_target": "mean over the pixels of the stylised picture",
    "target_to_preds": "mean over the pixels of the style",
}
_SPACES: dict[Space, str] = {"rgb": "RGB 0..255", "rgb_unit": "RGB 0..1", "lab": "CIELAB (sRGB, D65)"}


class ColorChamfer(SampleMean):
    """The mean Chamfer distance between the colours of pairs of pictures, over all pixels.

    ``1/|A| sum_a min_b |a - b|^2 + 1/|B| sum_b min_a |a - b|^2`` as in `metrics.functional.chamfer.color_chamfer`.
    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, each side at its own size. At least 0, lower is better,
    exactly 0 for equal sets of colours; with the default options up to 390150, in squared levels of 0..255.

    Args:
        squared: Average the squares of distances or the distances.
        direction: ``sum`` of both means, ``half`` of it, or the mean over one side alone.
        space: ``rgb`` on 0..255, ``rgb_unit`` on 0..1, or ``lab``.
        quantize: Round to the 8 bits that a saved picture has.
        search: ``tree``, ``matmul``, or ``auto``: as the device needs. The value does not depend on it.

    Raises:
        ImpastoError: If there is no such option, or ``matmul`` is asked of other colours than 8-bit RGB.

    Source: NeAT, section 5.1 and table 1, which leaves the convention open; the defaults are the ones that its values
    allow.

    Examples:
        >>> import torch
        >>> metric = ColorChamfer()
        >>> metric.update(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 4, 4), 3 / 255))
        >>> float(metric.compute())
        54.0
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    inputs = ("stylized", "style")

    def __init__(
        self,
        *,
        squared: bool = True,
        direction: Direction = "sum",
        space: Space = "rgb",
        quantize: bool = True,
        search: Search = "auto",
    ) -> None:
        super().__init__()
        check_options(direction, space, search, quantize=quantize)
        self.squared, self.direction, self.space = squared, direction, space
        self.quantize, self.search = quantize, search

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"colour Chamfer, {_DIRECTIONS[self.direction]} of the {'squared ' if self.squared else ''}distance to the "
            f"nearest colour, {_SPACES[self.space]}, {'8 bits' if self.quantize else 'not quantised'}, all pixels, "
            "native sizes"
        )

    def _values(self, preds: Tensor, target: Tensor) -> Tensor:
        return color_chamfer(
            preds,
            target,
            squared=self.squared,
            direction=self.direction,
            space=self.space,
            quantize=self.quantize,
            search=self.search,
        )
