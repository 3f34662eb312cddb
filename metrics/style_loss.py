"""The distance between the feature statistics of a picture and of its style."""

from collections.abc import Sequence

from torch import Tensor, nn

from metrics.base import FeatureMean, Features, source_of
from metrics.functional.checks import check_layers, one_of
from metrics.functional.style_distance import MomentForm, style_distance

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_FORMS: dict[MomentForm, str] = {
    "mse": "MSE of channel means and of standard deviations (unbiased variance + 1e-5)",
    "l2": "L2 norms of the differences of channel means and of standard deviations (unbiased variance)",
}


class StyleLoss(FeatureMean):
    """The mean distance of VGG channel means and standard deviations from those of a style picture.

    ``sum_l MSE(mu) + MSE(sigma)``, or ``sum_l |mu - mu'|_2 + |sigma - sigma'|_2``, as in
    `metrics.functional.style_distance`. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at their own size, at
    least 32 pixels a side; the style may have another size. At least 0, in squared feature units, for ``l2`` in feature
    units; lower is better, exactly 0 for equal pictures.

    Args:
        encoder: ``(images (B, 3, H, W) in [0, 1], layers) -> {layer: (B, C, H', W')}``, such as
            `lightning_modules.networks.vgg.VGGEncoder`.
        layers: The layers that count.
        form: ``mse`` as in public code, ``l2`` as in ContraAST's paper.

    Raises:
        ImpastoError: If there is no such form or layer.

    Source: Huang & Belongie 2017, eq. 13, with squared distances; ContraAST, eq. 1, for ``l2``.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    smallest = 32

    def __init__(self, encoder: nn.Module, layers: Sequence[str] = LAYERS, form: MomentForm = "mse") -> None:
        super().__init__(encoder)
        self.form = one_of(form, MomentForm, "form of the style loss")
        self.taps = check_layers(layers, getattr(encoder, "channels", None))

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"sum over {', '.join(self.taps)} of {_FORMS[self.form]}, encoder {source_of(self.extractor)}, native size"
        )

    def _values_from(self, preds: Features, target: Features) -> Tensor:
        return style_distance({layer: preds[layer] for layer in self.taps}, target, self.form)
