"""An independent panel: a classifier of artists in closed form, on a network that nothing here is trained with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.frozen import FrozenNetwork
from metrics.base import source_of
from metrics.functional.ridge import Ridge, fit_ridge
from metrics.reference_cache import ReferenceCache

EACH = 24
TAP = "style"


class Panel(FrozenNetwork):
    """A ridge classifier of artists on the features of a frozen network.

    What a method is trained against it learns to satisfy. No loss, no schedule and no choice of a checkpoint may use a
    panel, so that it can say whether the other numbers mean anything. Like every classifier without a class for none of
    its artists it always names one: read it beside the way that a picture went (`metrics.way.WayToTruth`).

    Args:
        extractor: Gives the features at the tap ``style``.
        ridge: The classifier, as `fit_panel` finds it.
        artists: The names of its classes.
        count: Paintings that it was fitted on.
    """

    mean: Tensor
    weight: Tensor

    def __init__(self, extractor: nn.Module, ridge: Ridge, artists: Sequence[str], count: int) -> None:
        alone = f"of which it names {ridge.left_out:.3f} left out one by one"
        super().__init__(f"{source_of(extractor)}, ridge on {count} paintings, {alone}")
        self.extractor = extractor
        self.artists = tuple(artists)
        self.register_buffer("mean", ridge.mean.float())
        self.register_buffer("weight", ridge.weight.float())
        self.freeze()

    def features(self, images: Tensor) -> Tensor:
        """Return ``(B, D)`` of pictures ``(B, 3, H, W)``, RGB in [0, 1]."""
        found: Tensor = self.extractor(images, (TAP,))[TAP]
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return scores over `artists`, ``(B, A)``, of pictures ``(B, 3, H, W)``, RGB in [0, 1]."""
        return (self.features(images) - self.mean) @ self.weight


def fit_panel(
    extractor: nn.Module,
    paintings: Mapping[str, Sequence[Path]],
    read: Callable[[Path], Tensor],
    each: int = EACH,
) -> Panel:
    """Fit a panel on paintings; their features are kept on disk, see `metrics.reference_cache.ReferenceCache`.

    Args:
        extractor: Gives the features at the tap ``style``.
        paintings: Artist to files; at most ``each`` of them are taken, spread over the list.
        read: Path to picture ``(1, 3, H, W)``, RGB, float in [0, 1] or uint8.
        each: Paintings of an artist.

    Raises:
        ImpastoError: If there are fewer than two artists, or an artist has fewer than two paintings.
    """
    if len(paintings) < 2:
        raise ImpastoError(f"A panel needs the paintings of at least two artists, there are {len(paintings)}.")
    artists, files, labels = sorted(paintings), [], []
    for label, artist in enumerate(artists):
        works = paintings[artist]
        count = min(each, len(works))
        files += [works[len(works) * number // count] for number in range(count)]
        labels += [label] * count
    rows = ReferenceCache().rows(files, extractor, (TAP,), read).features[TAP]
    return Panel(extractor, fit_ridge(rows, torch.tensor(labels), len(artists)), artists, len(files))
