"""KID: the maximum mean discrepancy of two sets of pictures under a cubic kernel."""

from typing import Literal

from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import one_of
from metrics.functional.mmd import (
    kernel_inception_distance,
    kernel_inception_jackknife,
    kernel_inception_subsets,
)
from metrics.set_distance import SetDistance

Spread = Literal["jackknife", "subsets"]


class KID(SetDistance):
    """The unbiased squared MMD of two sets of pictures under ``k(x, y) = (x.y / D + 1)^3``, over all pairs.

    See `metrics.functional.mmd.kernel_inception_distance`. Published tools average random subsets of 1000 pictures,
    which is this number plus noise, and refuse smaller sets; here every pair counts, block by block in float64, with no
    random number. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at least two on each side, three for the
    jackknife. Lower is better. Not biased, hence negative about half the time for sets that do not differ.

    ``compute`` returns the value, or, with a spread, ``{"kid": value, "kid_std": spread}``.

    Args:
        extractor: Gives vectors ``(B, D)`` at the tap.
        std: ``jackknife`` for the standard error of the value, which small sets need; ``subsets`` for the standard
            deviation that published tools print beside their mean, which is that of one subset, not of the value.
        subsets: How many, for ``std="subsets"``.
        subset_size: Pictures of either side in a subset; all of the smaller set where that has fewer.
        seed: Of the draws, which are the same on every rank and do not touch the global generator.
        tap: Which features.

    Raises:
        ImpastoError: If there is no such spread, or no such subsets.

    Source: Bińkowski et al. 2018, section 4.

    Examples:
        >>> import torch
        >>> class Means(torch.nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images.mean((2, 3)) for tap in taps}
        >>> metric = KID(Means(), std="jackknife")
        >>> metric.update(torch.zeros(4, 3, 8, 8), real=False)
        >>> greys = torch.tensor([1.0, 0.9, 0.8]).view(3, 1, 1, 1).expand(3, 3, 8, 8)
        >>> metric.update(torch.cat([greys, greys]), real=True)  # three pictures, each twice: each counts once
        >>> {name: round(float(value), 2) for name, value in metric.compute().items()}
        {'kid': 4.93, 'kid_std': 1.03}
    """

    higher_is_better = False
    few = 1000

    def __init__(
        self,
        extractor: nn.Module,
        std: Spread | None = None,
        *,
        subsets: int = 100,
        subset_size: int = 1000,
        seed: int = 0,
        tap: str = "pool3",
    ) -> None:
        super().__init__(extractor)
        self.std = std if std is None else one_of(std, Spread, "spread of KID")
        if subsets < 1 or subset_size < 2:
            raise ImpastoError(f"KID needs at least 1 subset of at least 2 pictures, not {subsets} of {subset_size}.")
        self.subsets, self.subset_size, self.seed = subsets, subset_size, seed
        self.taps = (tap,)
        self.least = 3 if std == "jackknife" else 2
        self.warning = "few: noisy" if std == "jackknife" else "few: noisy, std=jackknife tells how much"

    @property
    def recipe(self) -> str:
        """Return how the number is computed from features."""
        spread = {
            None: "",
            "jackknife": ", std by the two-sample jackknife",
            "subsets": f", std over {self.subsets} subsets{self._size()} drawn with seed {self.seed}",
        }[self.std]
        return f"unbiased MMD^2 under (x.y/D + 1)^3 over all pairs{spread}"

    def _size(self) -> str:
        if self.sizes is None or min(self.sizes) > self.subset_size:
            return f" of {self.subset_size}"
        return f" of {min(self.sizes)} (all of the smaller set: their spread understates)"

    def _between(self, generated: Tensor, reference: Tensor) -> Tensor | dict[str, Tensor]:
        if self.std is None:
            return kernel_inception_distance(generated, reference)
        if self.std == "jackknife":
            value, spread = kernel_inception_jackknife(generated, reference)
        else:
            value = kernel_inception_distance(generated, reference)
            draws = kernel_inception_subsets(reference, generated, self.subsets, self.subset_size, self.seed)
            spread = draws.std(correction=0)
        return {"kid": value, "kid_std": spread}
