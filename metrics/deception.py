"""The share of pictures that an artist classifier takes for the artist's own."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.base import Average, Held, PerSample, smallest_side, source_of
from metrics.functional.checks import one_of
from metrics.functional.deception import UNKNOWN, average_rate, deceives
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import full_precision


class DeceptionRate(PerSample):
    """The share of pictures for which the artist they imitate is the classifier's first choice, or among its first.

    Where the classifier has a class for none of its artists, the artist must win over that, too: a photograph in a
    painter's colours deceives nobody. Two figures belong beside it: the rate of true paintings (its ceiling, the
    classifier's own accuracy) and that of untouched photographs (its floor); each is this metric on other pictures. The
    classifier must share no network with the training loss, or the rate measures the loss.

    Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, as large as the classifier's ``smallest`` says (32 pixels
    a side for `lightning_modules.networks.artist_classifier.BrushworkNet`); in [0, 1], higher is better. Counts per
    artist are the states. Artists that the classifier does not know are not counted.

    Args:
        classifier: ``images (B, 3, H, W) in [0, 1] -> logits (B, A)``; where its attribute ``none`` is true,
            ``(B, A + 1)``, the last for none of the artists.
        artists: The names of the classes; by default the classifier's attribute ``artists``.
        average: ``micro`` counts every picture the same, ``macro`` every artist.
        top: How many of the classifier's choices count; 1 is the deception rate of the papers, and 5 tells a near miss
            from a picture that has nothing of the artist.
        closed: Choose among the artists alone, whether or not the classifier knows that there are other pictures: the
            rate of the papers, and of this repo before its classifier knew.

    Raises:
        ImpastoError: If there is no such average, no names of the classes are given, or all of them would count.

    Source: Sanakoyeu et al. 2018, section 4.2, with ``top`` 1; ``none`` is ours.
    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    inputs: ClassVar[tuple[str, ...]] = ("stylized", "prompt")
    hits: Tensor
    counts: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        artists: Sequence[str] | None = None,
        average: Average = "micro",
        top: int = 1,
        *,
        closed: bool = False,
    ) -> None:
        super().__init__()
        self.average = one_of(average, Average, "average")
        names = getattr(classifier, "artists", None) if artists is None else artists
        if not names:
            raise ImpastoError("The artist classifier does not say which artists it knows: give their names.")
        self.artists = tuple(names)
        if not 1 <= top < max(2, len(self.artists)):
            raise ImpastoError(f"Among the first {top} of {len(self.artists)} artists says nothing: lower top.")
        self.top = top
        self.closed = closed
        self.none = bool(getattr(classifier, "none", False))
        self._columns = {_plain(name): column for column, name in enumerate(self.artists)}
        self._classifier = Held(classifier)
        for state in ("hits", "counts"):
            self.add_state(state, torch.zeros(len(self.artists), dtype=torch.int64), dist_reduce_fx="sum")

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line."""
        choice = "target is the first choice among" if self.top == 1 else f"target is among the first {self.top} of"
        nobody = " and none of them" if self.top == 1 else ", and above none of them"
        others = nobody if self.none and not self.closed else ""
        return (
            f"share of pictures whose {choice} {len(self.artists)} artists{others}, {self.average} average, classifier "
            f"{source_of(self._classifier.network)}"
        )

    def labels(self, artists: Sequence[str]) -> Tensor:
        """Return the classifier's column of every name, ``(B,)``, int64; -1 for artists it does not know.

        Case, hyphens and underscores do not matter: ``vincent-van-gogh`` is ``Vincent van Gogh``.
        """
        return torch.tensor([self._columns.get(_plain(name), UNKNOWN) for name in artists], dtype=torch.int64)

    def values(self, preds: Tensor, artists: Sequence[str] | Tensor) -> Tensor:
        """Return 1 or 0 for every picture, nan for unknown artists; ``(B,)``, float64; as for `update`."""
        labels = artists if isinstance(artists, Tensor) else self.labels(artists)
        if len(labels) != len(preds):
            raise ImpastoError(f"There are {len(preds)} pictures and {len(labels)} artists.")
        if not len(preds):
            return torch.empty(0, dtype=torch.float64)
        network = self._classifier.on(preds.device)
        with full_precision(preds.device):
            logits = network(as_pictures(preds, "judged", smallest_side(network, 1)))
            if logits.shape != (len(preds), len(self.artists) + self.none):
                raise ImpastoError(f"The classifier gives {tuple(logits.shape)} for {len(self.artists)} artists.")
            if self.closed:
                logits = logits[:, : len(self.artists)]
            return deceives(logits, labels, self.top, none=self.none and not self.closed)

    def summary(self, values: Tensor, group: Tensor) -> Tensor:
        """Return the rate of many samples; see `metrics.base.PerSample`."""
        known = ~values.isnan()
        columns = group[known].unique(return_inverse=True)[1]
        counts = columns.bincount()
        hits = values.new_zeros(len(counts)).index_add(0, columns, values[known])
        return average_rate(hits, counts, macro=self.average == "macro")

    def update(self, preds: Tensor, artists: Sequence[str] | Tensor) -> None:
        """Count a batch of pictures.

        Args:
            preds: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8.
            artists: The target artist's name, or its column ``(B,)`` with -1 for unknown, of every picture.

        Raises:
            ImpastoError: If shape, type, range or number is wrong, or a logit is nan or infinite.
        """
        labels = artists if isinstance(artists, Tensor) else self.labels(artists)
        self._count(labels, self.values(preds, labels))

    def _count(self, labels: Tensor, values: Tensor) -> None:
        known = ~values.isnan()
        columns = labels.to(values.device)[known]
        empty = values.new_zeros(len(self.artists), dtype=torch.int64)
        self.counts += empty.index_add(0, columns, torch.ones_like(columns)).to(self.counts.device)
        self.hits += empty.index_add(0, columns, values[known].long()).to(self.hits.device)

    def compute(self) -> Tensor:
        """Return the rate of all pictures so far, a float64 scalar; nan before the first."""
        return average_rate(self.hits, self.counts, macro=self.average == "macro")


def _plain(name: str) -> str:
    return " ".join(name.replace("-", " ").replace("_", " ").split()).casefold()
