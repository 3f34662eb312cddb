"""SSIM as a running mean."""

from torch import Tensor

from metrics.base import SampleMean
from metrics.functional.pictures import as_pictures, check_pair
from metrics.functional.ssim import structural_similarity


class StructuralSimilarity(SampleMean):
    """The mean structural similarity of pairs of pictures; see `metrics.functional.ssim.structural_similarity`.

    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at least 11 pixels a side, pairs of equal size. In
    [-1, 1], higher is better, exactly 1 for equal pictures.

    Source: Wang et al. 2004, eq. 13.

    Examples:
        >>> import torch
        >>> metric = StructuralSimilarity()
        >>> metric.update(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16))
        >>> float(metric.compute())
        1.0
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            "SSIM, Gaussian window 11x11 sigma 1.5, K = (0.01, 0.03), population covariance, windows inside the "
            "picture only, mean of R, G and B, data range 1"
        )

    def _values(self, preds: Tensor, target: Tensor) -> Tensor:
        check_pair(preds, target, "compared")
        return structural_similarity(as_pictures(preds, "compared", 11), as_pictures(target, "compared", 11))
