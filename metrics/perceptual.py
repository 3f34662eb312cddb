"""LPIPS as a running mean."""

from torch import Tensor, nn

from metrics.base import Held, SampleMean, smallest_side, source_of
from metrics.functional.pictures import as_pictures, check_pair


class PerceptualDistance(SampleMean):
    """The mean perceptual distance of pairs of pictures under a given network.

    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at their own size (the value depends on it), at least 16
    pixels a side (32 for AlexNet), pairs of equal size. At least 0, lower is closer, exactly 0 for equal pictures.
    Scaling to [-1, 1], the most common mistake with LPIPS, is the network's business.

    Args:
        network: ``(a, b) -> (B,)`` on pictures in [0, 1], such as `lightning_modules.weights.load_lpips` returns.

    Source: Zhang et al. 2018, eq. 1.
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
        return f"perceptual distance, {type(network).__name__} with weights {source_of(network)}, native size"

    def _values(self, preds: Tensor, target: Tensor) -> Tensor:
        check_pair(preds, target, "compared")
        network = self._network.on(preds.device)
        smallest = smallest_side(network, 16)
        distance: Tensor = network(as_pictures(preds, "compared", smallest), as_pictures(target, "compared", smallest))
        return distance.flatten()
