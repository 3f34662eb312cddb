"""How far a stylised picture went from its content to the true painting, in the eyes of a judge."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from metrics.base import Held, PerSample, smallest_side, source_of
from metrics.functional.checks import check_counts
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import full_precision
from metrics.functional.unique import picture_numbers
from metrics.functional.way import share_of_way


class WayToTruth(PerSample):
    """The mean place of stylised pictures on the way from the photograph to the true painting of it.

    ``(f(x) - f(c)) . (f(t) - f(c)) / |f(t) - f(c)|^2`` with the features f of picture x, content c and truth t, as in
    `metrics.functional.way`: 0 is the photograph and 1 as far as the painting. What leads elsewhere does not count, so
    a picture at 1 need not look like the painting; one at 0.5 does not. Only data whose truth is known has the number.

    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; higher is better. The features of contents and truths are
    kept from one update to the next, for every validation brings the same.

    Args:
        network: Its method ``features`` takes ``(B, 3, H, W)`` in [0, 1] and returns ``(B, D)``, such as that of
            `lightning_modules.networks.artist_classifier.ArtistClassifier` and `metrics.panel.Panel`.
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "content", "truth")
    total: Tensor
    count: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = Held(network)
        self._known: dict[int, Tensor] = {}
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        return (
            "mean share of the way from content (0) to true painting (1), by projection of features of "
            f"{source_of(self._network.network)}"
        )

    def values(self, preds: Tensor, target: Tensor, truth: Tensor) -> Tensor:  # type: ignore[override]  # two ends
        """Return the place of every picture, ``(B,)``, float64, nan where the truth is the content; as for `update`."""
        check_counts(preds, target, self.inputs)
        check_counts(preds, truth, ("stylized", "true painting"))
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        return share_of_way(self._features(preds, "stylized"), self._kept(target, "content"), self._kept(truth, "true"))

    def update(self, preds: Tensor, target: Tensor, truth: Tensor) -> None:
        """Count a batch of pictures.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            target: The contents.
            truth: The true paintings of them.

        Raises:
            ImpastoError: If shape, type, range or number is wrong, or a feature is nan or infinite.
        """
        values = self.values(preds, target, truth)
        self.total += values.nansum().to(self.total.device)
        self.count += (~values.isnan()).sum().to(self.count.device)

    def compute(self) -> Tensor:
        """Return the mean of all pictures so far, a float64 scalar; nan before the first."""
        return self.total / self.count

    def _features(self, images: Tensor, name: str) -> Tensor:
        network = self._network.on(images.device)
        with full_precision(images.device):
            features: Tensor = network.features(as_pictures(images, name, smallest_side(network, 1)))  # type: ignore[operator]
        return features

    def _kept(self, images: Tensor, name: str) -> Tensor:
        numbers = picture_numbers(as_pictures(images, name)).tolist()
        new = {number: row for row, number in enumerate(numbers) if number not in self._known}
        if new:
            found = self._features(images[list(new.values())], name).cpu()
            self._known |= dict(zip(new, found, strict=True))
        return torch.stack([self._known[number] for number in numbers]).to(images.device)
