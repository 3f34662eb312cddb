"""What distances of two sets of pictures have in common: which pictures count, and a convention with their number."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.base import ANYWHERE, FeatureMetric, Features, source_of
from metrics.functional.checks import check_finite
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import full_precision
from metrics.functional.unique import picture_numbers


class SetMetric(FeatureMetric):
    """The distance between two sets of pictures, as rows of features.

    Every sample counts once among the generated pictures, every *picture* once among the references: a style that goes
    with twenty contents would otherwise count as twenty, and copies of one picture make an unbiased distance biased.

    The states are the rows of both sides in float32 and a number for each: the sample's position in its split, or what
    `metrics.functional.unique.picture_numbers` tells of the reference. The distance sees every number once, in
    ascending order, so neither batches nor ranks nor a padded sampler change it. A subclass names its ``taps`` and
    computes ``_distance``; one with several taps says in ``_rows`` what a row is.

    Attributes:
        least: Pictures that each side needs.
    """

    least: int = 2
    width: Tensor
    real_index: Tensor | list[Tensor]

    def __init__(self, extractor: nn.Module, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.add_state("width", torch.tensor(0), dist_reduce_fx="max")
        for side in ("real", "fake"):
            self.add_state(f"{side}_rows", [], dist_reduce_fx="cat")
            self.add_state(f"{side}_index", [], dist_reduce_fx="cat")
        self._begin()

    def _begin(self) -> None:
        # A rank without pictures does not know how wide a row is, and a gather needs equal types and dimensions from
        # all: rows are kept flat, and every rank has at least an empty one.
        for side in ("real", "fake"):
            getattr(self, f"{side}_rows").append(torch.empty(0, device=self.device))
            getattr(self, f"{side}_index").append(torch.empty(0, dtype=torch.int64, device=self.device))

    def reset(self) -> None:
        """Forget everything seen so far."""
        super().reset()
        self._begin()

    @abstractmethod
    def _distance(self, real: Tensor, fake: Tensor) -> Tensor | dict[str, Tensor]: ...

    def _rows(self, features: Features) -> Tensor:
        (tap,) = self.taps
        return features[tap]

    def update(self, images: Tensor, *, real: bool, index: Tensor | None = None) -> None:
        """Add pictures to one side.

        Args:
            images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8; batches may differ in size.
            real: Whether they belong to the reference set.
            index: ``(B,)``, the samples' positions in their split; of equal ones only the first counts. By default
                every generated picture counts. References need none: of equal pictures only the first counts.

        Raises:
            ImpastoError: If shape, type, range or number is wrong.
        """
        if not len(images):
            return
        features = self.extract(images, self.inputs[1] if real else self.inputs[0])
        self.update_features(features, real=real, index=self._told_apart(images, index, real=real))

    def _told_apart(self, images: Tensor, index: Tensor | None, *, real: bool) -> Tensor | None:
        """Return what tells the pictures of a batch from others of their side."""
        return picture_numbers(as_pictures(images, self.inputs[1])) if real else index

    def update_features(self, features: Features, *, real: bool, index: Tensor | None = None) -> None:
        """Add pictures whose features are known to one side.

        Args:
            features: Tap to features, ``(B, D)`` as a rule.
            real: Whether they belong to the reference set.
            index: ``(B,)``, int64, a number for every picture; of equal ones only the first counts: positions in the
                split, or for references what `metrics.functional.unique.picture_numbers` tells. By default all count.

        Raises:
            ImpastoError: If a feature is not finite, or widths or numbers do not fit each other.
        """
        rows = self._rows(features).detach().float().to(self.device)
        if rows.ndim != 2 or int(self.width) not in (0, rows.shape[1]):
            raise ImpastoError(
                f"Features must be (B, {int(self.width) or 'D'}) as on the other side, got {tuple(rows.shape)}."
            )
        if index is not None and len(index) != len(rows):
            raise ImpastoError(f"There are {len(rows)} pictures and {len(index)} positions.")
        check_finite(rows, "feature of these pictures")
        self._count_update()
        side = "real" if real else "fake"
        known = torch.full((len(rows),), ANYWHERE) if index is None else index.detach().long()
        self.width.fill_(rows.shape[1])
        getattr(self, f"{side}_rows").append(rows.flatten())
        getattr(self, f"{side}_index").append(known.to(self.device))

    def update_shared(
        self, fake: Features, real: Features, fields: Mapping[str, Any], references: Tensor | None = None
    ) -> None:
        """Add a batch to both sides whose features somebody extracted for several metrics.

        Args:
            fake: Tap to features of the generated pictures.
            real: The same of the reference pictures.
            fields: All fields of the batch, for metrics that need more; ``index`` is the samples' position.
            references: ``(B,)``, what tells the reference pictures apart; by default all count.
        """
        for features, index, side in ((fake, fields.get("index"), False), (real, references, True)):
            self.update_features(features, real=side, index=index, **self._beside(fields, real=side))

    def _beside(self, fields: Mapping[str, Any], *, real: bool) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return what ``update_features`` needs beside the features."""
        return {}

    def rows(self, real: bool) -> Tensor:
        """Return the rows of one side so far, ``(n, D)``, float32, every number once and in ascending order."""
        side = "real" if real else "fake"
        rows, index = (_joined(getattr(self, f"{side}_{state}")) for state in ("rows", "index"))
        index, order = index.sort(stable=True)
        first = torch.ones(len(index), dtype=torch.bool, device=index.device)
        first[1:] = (index[1:] != index[:-1]) | (index[1:] == ANYWHERE)
        return rows.view(len(index), -1)[order[first]] if len(index) else rows.view(0, int(self.width))

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Return the distance of the sets so far.

        Raises:
            ImpastoError: If a side has too few pictures.
        """
        sides = {name: self.rows(real=name == "reference") for name in ("reference", "generated")}
        for name, rows in sides.items():
            if len(rows) < self.least:
                known = f"{type(self).__name__} needs at least {self.least} {name} pictures, there are {len(rows)}"
                raise ImpastoError(f"{known}{', each counted once' if name == 'reference' else ''}.")
        with full_precision(self.device):
            return self._distance(sides["reference"], sides["generated"])


class SetDistance(SetMetric):
    """A distance of two sets whose convention names their sizes, and warns where they are small.

    Bias or noise of such a distance depends on how many pictures there were, so numbers without theirs cannot be
    compared. A subclass says how the number is computed in ``recipe``, and computes it in ``_between``.

    Args:
        extractor: The frozen network; see `metrics.base.Extractor`.

    Attributes:
        few: The convention warns where a side has fewer pictures.
        warning: What it says then.
        sizes: Generated and reference pictures of the last ``compute``, each counted once; None before it.
        distinct: Whether the references were told apart, so that none of them counted twice.
    """

    few: int = 0
    warning: str = ""
    sizes: tuple[int, int] | None

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__(extractor)
        self.sizes = None
        self.distinct = False

    @property
    @abstractmethod
    def recipe(self) -> str:
        """Return how the number is computed from features, in a few words."""

    @abstractmethod
    def _between(self, generated: Tensor, reference: Tensor) -> Tensor | dict[str, Tensor]: ...

    @property
    def convention(self) -> str:
        """Return how the number is computed, in one line; after ``compute`` with the number of pictures."""
        network = self.extractor
        preprocessing = getattr(network, "preprocessing", "its own")
        line = f"{self.recipe}, features {', '.join(self.taps)} of {source_of(network)}, preprocessing {preprocessing}"
        if self.sizes is None:
            return line
        different = "different " if self.distinct else ""
        line += f", {self.sizes[0]} generated and {self.sizes[1]} {different}reference pictures"
        return f"{line} ({self.warning})" if min(self.sizes) < self.few else line

    def reset(self) -> None:
        """Forget everything seen so far."""
        super().reset()
        self.sizes = None

    def _distance(self, real: Tensor, fake: Tensor) -> Tensor | dict[str, Tensor]:
        self.sizes = (len(fake), len(real))
        self.distinct = bool((_joined(self.real_index) != ANYWHERE).all())
        return self._between(fake, real)


def _joined(state: Tensor | list[Tensor]) -> Tensor:
    return torch.cat(state) if isinstance(state, list) else state
