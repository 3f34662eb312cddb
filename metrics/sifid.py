"""SIFID: how far the textures of a picture are from those of one other picture."""

from typing import Literal

from torch import Tensor, nn

from metrics.base import FeatureMean, Features, source_of
from metrics.functional.checks import one_of
from metrics.functional.frechet import frechet_of_maps

Channels = Literal[64, 192]
_TAPS: dict[Channels, str] = {64: "conv2d_2b", 192: "conv2d_4a"}
_POOLS: dict[Channels, str] = {64: "first", 192: "second"}
_SMALLEST: dict[Channels, int] = {64: 9, 192: 23}  # where Inception's map is 2 x 2


class SIFID(FeatureMean):
    """The mean over pairs of the Fréchet distance between the feature vectors of two single pictures.

    ``|m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)``, mean and covariance over the places of one map of
    Inception, as in `metrics.functional.frechet.frechet_distance`. Every pair has its own distance; places of several
    pictures are never pooled. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, each side at its own size, at
    least 9 pixels a side for 64 channels and 23 for 192 (covariances have full rank from about 71 on). At least 0, in
    squared feature units, lower is better, exactly 0 for equal pictures.

    SinGAN's paper and its code since November 2021 read the map before the second max-pool (192 channels); the code
    before then read the map before the first one (64), and so, probably, did NeAT. The values are not comparable.

    Args:
        extractor: Inception-v3 with ImageNet weights at native size; gives the maps ``conv2d_2b`` and ``conv2d_4a``.
        channels: Which map.

    Raises:
        ImpastoError: If ``channels`` is neither 64 nor 192.

    Source: Rott Shaham et al. 2019 (SinGAN), section 3; NeAT, table 1.

    Examples:
        >>> import torch
        >>> class Pixels(torch.nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images for tap in taps}
        >>> metric = SIFID(Pixels(), channels=64)
        >>> metric.update(torch.ones(1, 3, 32, 32), torch.zeros(1, 3, 24, 16))
        >>> float(metric.compute())
        3.0
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(self, extractor: nn.Module, channels: Channels = 192) -> None:
        super().__init__(extractor)
        self.channels = one_of(channels, Channels, "map of SIFID with as many channels as")
        self.taps = (_TAPS[channels],)
        self.smallest = _SMALLEST[channels]

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            f"Fréchet distance over the places of {self.taps[0]} ({self.channels} channels in Inception-v3, before the "
            f"{_POOLS[self.channels]} max-pool), unbiased covariances, each picture with its own reference, mean of "
            f"pairs, extractor {source_of(self.extractor)}, {getattr(self.extractor, 'preprocessing', 'native size')}"
        )

    def _values_from(self, preds: Features, target: Features) -> Tensor:
        (tap,) = self.taps
        return frechet_of_maps(preds[tap], target[tap])
