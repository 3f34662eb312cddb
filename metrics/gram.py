"""The distance between the Gram matrices of a picture and of its style."""

from collections.abc import Sequence

from torch import Tensor, nn

from metrics.base import FeatureMean, Features, source_of
from metrics.functional.checks import check_layers, one_of
from metrics.functional.gram import GRAM_FORMS, GramForm, check_weights, gram_distance

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


class GramDistance(FeatureMean):
    """The mean distance of Gram matrices from those of a style picture.

    ``sum_l w_l mean((G_l(a) - G_l(b))^2)``, ``G = F F^T / (C H W)``, as in `metrics.functional.gram.gram_distance`.
    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, each side at its own size, at least 32 pixels a side. At
    least 0, lower is better, exactly 0 for equal pictures. Tables often print it times 1000.

    Args:
        extractor: Maps of named layers, such as `lightning_modules.networks.vgg.VGGEncoder`. Networks that normalise
            their input otherwise give other values.
        layers: The layers that count.
        form: What is compared; see `metrics.functional.gram.gram_distance`.
        weights: Of every layer; 1 by default.

    Raises:
        ImpastoError: If there is no such form or layer, or there are not as many weights as layers.

    Source: Gatys et al. 2016, eq. 3-5; Johnson et al. 2016, eq. 3-4; NeAT, table 1, which leaves the convention open.

    Examples:
        >>> import torch
        >>> class Pixels(torch.nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images for tap in taps}
        >>> metric = GramDistance(Pixels(), layers=["pixels"])
        >>> metric.update(torch.ones(1, 3, 32, 32), torch.zeros(1, 3, 48, 32))
        >>> round(float(metric.compute()), 6)
        0.111111
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    smallest = 32

    def __init__(
        self,
        extractor: nn.Module,
        layers: Sequence[str] = LAYERS,
        form: GramForm = "johnson",
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(extractor)
        self.form = one_of(form, GramForm, "form of the Gram distance")
        self.taps = check_layers(layers, getattr(extractor, "channels", None))
        check_weights(weights, len(self.taps))
        self.weights = weights

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        weights = "" if self.weights is None else f" weighed {', '.join(f'{weight:g}' for weight in self.weights)}"
        return (
            f"Gram distance, sum over {', '.join(self.taps)}{weights} of the {GRAM_FORMS[self.form]}, "
            f"encoder {source_of(self.extractor)}, native size"
        )

    def _values_from(self, preds: Features, target: Features) -> Tensor:
        ours = {tap: preds[tap] for tap in self.taps}  # a shared pass brings the taps of other metrics too
        return gram_distance(ours, target, self.form, self.weights)
