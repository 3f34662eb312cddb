"""CMMD: the maximum mean discrepancy of two sets of pictures in CLIP's eyes."""

from typing import Literal

from torch import Tensor, nn

from metrics.functional.checks import one_of
from metrics.functional.mmd import CMMD_SCALE, CMMD_SIGMA, clip_maximum_mean_discrepancy
from metrics.set_distance import SetDistance

Estimator = Literal["biased", "unbiased"]


class CMMD(SetDistance):
    """The squared MMD of CLIP embeddings of unit length under ``exp(-|x - y|^2 / 200)``, times 1000, over all pairs.

    See `metrics.functional.mmd.clip_maximum_mean_discrepancy`. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or
    uint8, at least one on each side, two for the unbiased form. Lower is better. Biased: at least 0, exactly 0 for a
    set and itself; unbiased: may be negative.

    The published code is biased: every picture's similarity to itself counts, which adds about 4/n for each set. That
    is nothing at 30 000 pictures, and 0.1 for each set of 39, so report the unbiased form beside it for small sets.

    Args:
        extractor: Gives the projected embedding at the tap; any length.
        estimator: ``biased`` is comparable with published values.
        tap: Which features.

    Raises:
        ImpastoError: If there is no such estimator.

    Source: Jayasumana et al. 2024, section 4, and the authors' code (biased).

    Examples:
        >>> import torch
        >>> class Means(torch.nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images.mean((2, 3)) for tap in taps}
        >>> metric = CMMD(Means())
        >>> metric.update(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8), real=False)
        >>> metric.update(torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8), real=True)
        >>> round(float(metric.compute()), 4)  # 2000 (1 - exp(-2 / 200))
        19.9003
    """

    higher_is_better = False
    few = 1000

    def __init__(self, extractor: nn.Module, estimator: Estimator = "biased", tap: str = "projected") -> None:
        super().__init__(extractor)
        self.estimator = one_of(estimator, Estimator, "estimator of CMMD")
        self.taps = (tap,)
        self.least = 1 if estimator == "biased" else 2
        self.warning = "few: the bias is about 4/n for each set" if estimator == "biased" else "few: noisy"

    @property
    def recipe(self) -> str:
        """Return how the number is computed from features."""
        return (
            f"{self.estimator} MMD^2 of unit vectors under a Gaussian kernel of sigma {CMMD_SIGMA:g}, over all pairs, "
            f"times {CMMD_SCALE:g}"
        )

    def _between(self, generated: Tensor, reference: Tensor) -> Tensor:
        return clip_maximum_mean_discrepancy(generated, reference, biased=self.estimator == "biased")
