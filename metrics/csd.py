"""CSD: how alike the style vectors of generated pictures and of a reference set are."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.base import Features
from metrics.functional.checks import one_of
from metrics.functional.style_vector import StyleForm, similarity_of_sums, style_similarity, unit_vectors
from metrics.set_distance import SetDistance

_RECIPES: dict[StyleForm, str] = {
    "mean_cosine": "mean cosine of generated style vectors to the mean reference vector",
    "mean_to_mean": "cosine of the mean generated and the mean reference style vector",
    "pairwise": "mean cosine of all pairs of generated and reference style vectors",
}


ARTISTS = 2**24  # the numbers that a column of float32 holds


class CSD(SetDistance):
    """The similarity of style vectors, over two sets or artist by artist.

    ``mean_i cos(g_i, r)`` with the mean reference vector r, or another form of `metrics.functional.style_vector`. All
    forms need only sums of unit vectors, so the sets are never compared pair by pair. Pictures ``(B, 3, H, W)``, RGB,
    float in [0, 1] or uint8. In [-1, 1], higher is better. Vectors are not centred: works of one domain are 0.3 to 0.5
    alike whoever made them, so read the number beside that of two halves of the reference set (`ceiling`) and that of
    untouched contents (this metric on them).

    Args:
        extractor: Gives the style vector at the tap; any length.
        form: Three conventions share the name and give, say, 0.46, 0.92 and 0.28.
        per_artist: Compare every artist's generated pictures with the same artist's references, and average over the
            artists that both sides have. Every update then needs ``artist``.
        tap: Which features.

    Attributes:
        by_artist: With ``per_artist``, every such artist's value as of the last ``compute``.

    Raises:
        ImpastoError: If there is no such form.

    Source: Somepalli et al. 2024 (the vectors; ``mean_to_mean`` as its authors say); NSYNC (``mean_cosine``).

    Examples:
        >>> import torch
        >>> class Means(torch.nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images.mean((2, 3)) for tap in taps}
        >>> metric = CSD(Means())
        >>> metric.update(torch.ones(2, 3, 8, 8), real=False)
        >>> metric.update(torch.full((3, 3, 8, 8), 0.5), real=True)
        >>> round(float(metric.compute()), 12)
        1.0
    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    least = 1

    def __init__(
        self, extractor: nn.Module, form: StyleForm = "mean_cosine", *, per_artist: bool = False, tap: str = "style"
    ) -> None:
        super().__init__(extractor)
        self.form = one_of(form, StyleForm, "form of style similarity")
        self.per_artist = per_artist
        self.taps = (tap,)
        self.by_artist: dict[int, float] = {}

    @property
    def recipe(self) -> str:
        """Return how the number is computed from style vectors."""
        average = ""
        if self.per_artist:
            average = f", artist by artist, mean over {len(self.by_artist) or 'the'} artists on both sides"
        return _RECIPES[self.form] + average

    def reset(self) -> None:
        """Forget everything seen so far."""
        super().reset()
        self.by_artist = {}

    def update(self, images: Tensor, *, real: bool, index: Tensor | None = None, artist: Tensor | None = None) -> None:
        """Add pictures to one side; as in `metrics.set_distance.SetMetric`, and ``artist`` as in `update_features`."""
        if not len(images):
            return
        features = self.extract(images, self.inputs[1] if real else self.inputs[0])
        self.update_features(features, real=real, index=self._told_apart(images, index, real=real), artist=artist)

    def update_features(
        self, features: Features, *, real: bool, index: Tensor | None = None, artist: Tensor | None = None
    ) -> None:
        """Add pictures whose style vectors are known to one side.

        Args:
            features: The tap to style vectors, ``(B, D)``.
            real: Whether they belong to the reference set.
            index: As in `metrics.set_distance.SetMetric`; with ``per_artist`` a reference counts once for each artist.
            artist: ``(B,)``, int64, at least 0 and below 2^24, the artists' numbers; ignored unless ``per_artist``.

        Raises:
            ImpastoError: If the artists are missing, or widths or numbers do not fit each other.
        """
        if self.per_artist:
            vectors = super()._rows(features)
            whose = _checked(artist, len(vectors))
            # As a column of the rows it is gathered with them, and repeated samples are dropped with theirs.
            column = whose.to(vectors.device, torch.float32)[:, None]
            features = {self.taps[0]: torch.cat([vectors.float(), column], dim=1)}
            if real and index is not None:
                index = index ^ (whose.to(index) << 39)  # positions lie below, and hashes anywhere
        super().update_features(features, real=real, index=index)

    def _beside(self, fields: Mapping[str, Any], *, real: bool) -> dict[str, Any]:  # noqa: ARG002 - the same for both
        return {"artist": fields.get("artist")} if self.per_artist else {}

    def ceiling(self) -> Tensor:
        """Return what two halves of the reference set seen so far give, in the form of this metric.

        Raises:
            ImpastoError: If there are fewer than two references.
        """
        reference = self.rows(real=True)
        if len(reference) < 2:
            raise ImpastoError("The ceiling of CSD needs at least 2 reference pictures.")
        return self._similarity(reference[::2], reference[1::2])[0]

    def resampled(self) -> tuple[Tensor, Tensor] | None:
        """Return the value of every generated picture by itself, in forms that are their mean."""
        if self.per_artist or self.form == "mean_to_mean":
            return None
        generated, reference = (self.rows(real=real) for real in (False, True))
        values = [style_similarity(row[None], reference, self.form) for row in generated]
        return torch.stack(values), torch.arange(len(values))

    def _between(self, generated: Tensor, reference: Tensor) -> Tensor:
        value, self.by_artist = self._similarity(generated, reference)
        return value

    def _similarity(self, generated: Tensor, reference: Tensor) -> tuple[Tensor, dict[int, float]]:
        if not self.per_artist:
            return style_similarity(generated, reference, self.form), {}
        vectors = [unit_vectors(rows[:, :-1]) for rows in (generated, reference)]
        artists = [rows[:, -1].long().to(vectors[0].device) for rows in (generated, reference)]
        count = 1 + int(torch.cat(artists).max())
        empty = vectors[0].new_zeros(count, vectors[0].shape[1])
        sums = [empty.index_add(0, whose, rows) for whose, rows in zip(artists, vectors, strict=True)]
        counts = [whose.bincount(minlength=count) for whose in artists]
        values = similarity_of_sums(sums[0], counts[0], sums[1], counts[1], self.form)
        (both,) = torch.where((counts[0] > 0) & (counts[1] > 0))
        if not len(both):
            raise ImpastoError("CSD artist by artist needs artists with both generated and reference pictures.")
        return values[both].mean(), dict(zip(both.tolist(), values[both].tolist(), strict=True))


def _checked(artist: Tensor | None, count: int) -> Tensor:
    if artist is None or artist.shape != (count,) or bool(((artist < 0) | (artist >= ARTISTS)).any()):
        raise ImpastoError(
            f"CSD artist by artist needs the number of one artist, 0 or more and below {ARTISTS}, for every picture."
        )
    return artist
