"""FID and its kin: the Fréchet distance of two sets of pictures."""

from torch import Tensor, nn

from metrics.functional.frechet import frechet_distance
from metrics.set_distance import SetDistance


class FrechetDistance(SetDistance):
    """The Fréchet distance between the features of two sets of pictures: FID on Inception's ``pool3``.

    ``|m_g - m_r|^2 + tr S_g + tr S_r - 2 tr (S_g S_r)^(1/2)`` as in `metrics.functional.frechet.frechet_distance`,
    which needs neither a matrix square root nor full rank. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8,
    at least two on each side. At least 0, in squared feature units, lower is better, exactly 0 for a set and itself.

    Tools resize and normalise in four incompatible ways, so the extractor's front end is part of the number. And it is
    biased: two samples of one distribution of 2048 dimensions are about 110 apart at 39 pictures each and 52 at 400.
    Below about 2000 pictures it ranks noise, unless all compared sets have the same size; KID has no such bias.

    Args:
        extractor: Gives vectors ``(B, D)`` at the tap.
        tap: Which features; CLIP's ``projected`` makes it the Fréchet distance on CLIP.

    Source: Heusel et al. 2017, eq. 6.

    Examples:
        >>> import torch
        >>> class Means(torch.nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images.mean((2, 3)) for tap in taps}
        >>> metric = FrechetDistance(Means())
        >>> greys = torch.tensor([0.0, 0.25]).view(2, 1, 1, 1).expand(2, 3, 8, 8)
        >>> metric.update(greys, real=False)
        >>> metric.update(torch.cat([greys, greys]) + 0.5, real=True)  # two pictures, each twice
        >>> float(metric.compute()), metric.sizes
        (0.75, (2, 2))
    """

    higher_is_better = False
    plot_lower_bound = 0.0
    few = 2000
    warning = "few: biased upwards, compare equal numbers only"

    def __init__(self, extractor: nn.Module, tap: str = "pool3") -> None:
        super().__init__(extractor)
        self.taps = (tap,)

    @property
    def recipe(self) -> str:
        """Return how the number is computed from features."""
        return "Fréchet distance of two sets, unbiased covariances"

    def _between(self, generated: Tensor, reference: Tensor) -> Tensor:
        return frechet_distance(generated, reference)
