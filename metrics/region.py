"""What a method for regions did inside the mask, outside it, and along its edge, as running means."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from metrics.base import Held, SampleMean, smallest_side, source_of
from metrics.functional.checks import check_counts
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import as_float64, full_precision
from metrics.functional.region import background_error, edge_seam, mask_iou, masked_distance, masked_ssim


class RegionMean(SampleMean):
    """The mean of a value inside a mask; samples without a value, such as an empty mask, are left out."""

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "content", "mask")

    @abstractmethod
    def _values(self, preds: Tensor, target: Tensor, mask: Tensor) -> Tensor: ...  # type: ignore[override]

    def values(self, preds: Tensor, target: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]  # a mask besides
        """Return the value of every sample, ``(B,)``, nan where it has none, without counting it; as for `update`."""
        check_counts(preds, target, self.inputs)
        check_counts(preds, mask, ("stylized", "mask"))
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        with full_precision(preds.device):
            return as_float64(self._values(preds, target, mask))

    def update(self, preds: Tensor, target: Tensor, mask: Tensor) -> None:  # type: ignore[override]  # as for `values`
        """Count a batch.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            target: What they are compared with; the same shape.
            mask: ``(B, 1, H, W)`` or ``(B, H, W)``, bool or in [0, 1].

        Raises:
            ImpastoError: If shape, type, range or number is wrong.
        """
        values = self.values(preds, target, mask)
        self._add(values[~values.isnan()])


class RegionSSIM(RegionMean):
    """The mean structural similarity inside the mask; see `metrics.functional.region.masked_ssim`.

    In [-1, 1], higher is better, exactly 1 for pictures that are equal there.

    Examples:
        >>> metric = RegionSSIM()
        >>> metric.update(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16), torch.ones(2, 1, 16, 16))
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
            "SSIM inside the mask: Gaussian window 11x11 sigma 1.5 times the mask, K = (0.01, 0.03), population "
            "covariance, centres weighted by the mask, windows inside the picture only, mean of R, G and B"
        )

    def _values(self, preds: Tensor, target: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return masked_ssim(preds, target, mask)


class RegionLPIPS(RegionMean):
    """The mean perceptual distance inside the mask; see `metrics.functional.region.masked_distance`.

    At least 0, lower is closer, exactly 0 for pictures that are equal there.

    Args:
        network: ``(a, b) -> (B,)`` on pictures in [0, 1], such as `lightning_modules.weights.load_lpips` returns.
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = Held(network)

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        network = self._network.network
        return (
            f"perceptual distance of the picture with what is under the mask laid in, over the mask's share, "
            f"{type(network).__name__} with weights {source_of(network)}, native size"
        )

    def _values(self, preds: Tensor, target: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        network = self._network.on(preds.device)
        smallest = smallest_side(network, 16)
        a, b = (as_pictures(side, "compared", smallest) for side in (preds, target))
        return masked_distance(network, a, b, mask)


class BackgroundError(RegionMean):
    """The mean over pictures of the largest change of a pixel outside the mask.

    See `metrics.functional.region.background_error`. In [0, 1]; a method for regions has exactly 0.
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return "largest |stylized - content| over pixels and channels where the mask is 0, mean over pictures, range 1"

    def _values(self, preds: Tensor, target: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return background_error(preds, target, mask)


class EdgeSeam(RegionMean):
    """The mean excess of the steps across the mask's edge; see `metrics.functional.region.edge_seam`.

    In [-1, 1]; 0 for the content itself, lower is less of a seam.
    """

    higher_is_better = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return "mean |step| between neighbours across the mask's edge at 0.5, less the content's, mean of R, G and B"

    def _values(self, preds: Tensor, target: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return edge_seam(preds, target, mask)


class MaskIoU(SampleMean):
    """The mean intersection over union of the masks that a grounder found with the true ones.

    Masks ``(B, 1, H, W)``, bool or in [0, 1], cut at 0.5. In [0, 1], higher is better.

    Examples:
        >>> metric = MaskIoU()
        >>> metric.update(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
        >>> float(metric.compute())
        1.0
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    inputs: ClassVar[tuple[str, ...]] = ("mask", "true_mask")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return "intersection over union of the mask with the true one, both cut at 0.5"

    def _values(self, preds: Tensor, target: Tensor) -> Tensor:
        return mask_iou(preds, target)
