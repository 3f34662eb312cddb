"""The distance between the feature statistics of a picture and of its style."""

from collections.abc import Sequence

from torch import Tensor, nn

from metrics.base import FeatureMean, Features, source_of
from metrics.functional.style_distance import style_distance

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class StyleLoss(FeatureMean):
    """The mean distance of VGG channel means and standard deviations from those of a style picture.

    ``sum_l MSE(mu) + MSE(sigma)`` as in `metrics.functional.style_distance`. Pictures ``(B, 3, H, W)``, RGB, float in
    [0, 1] or uint8, at their own size, at least 32 pixels a side; the style may have another size. At least 0, in
    squared feature units, lower is better, exactly 0 for equal pictures.

    Args:
        encoder: ``(images (B, 3, H, W) in [0, 1], layers) -> {layer: (B, C, H', W')}``, such as
            `lightning_modules.networks.vgg.VGGEncoder`.
        layers: The layers that count.

    Source: Huang & Belongie 2017, eq. 13, with squared distances.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    smallest = 32

    def __init__(self, encoder: nn.Module, layers: Sequence[str] = LAYERS) -> None:
        super().__init__(encoder)
        self.taps = tuple(layers)

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"sum over {', '.join(self.taps)} of MSE of channel means and of standard deviations "
            f"(unbiased variance + 1e-5), encoder {source_of(self.extractor)}, native size"
        )

    def _values_from(self, preds: Features, target: Features) -> Tensor:
        return style_distance({layer: preds[layer] for layer in self.taps}, target)
