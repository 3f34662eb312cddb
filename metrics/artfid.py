"""ArtFID: kept content times matched style, in one number."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from metrics.base import Features, Held, smallest_side, source_of
from metrics.functional.frechet import frechet_distance
from metrics.functional.pictures import as_pictures, check_pair
from metrics.functional.precision import as_float64, full_precision
from metrics.set_distance import SetDistance


class ArtFID(SetDistance):
    """``(1 + LPIPS(stylized, content)) (1 + FD(stylized set, style set))``.

    LPIPS is the mean over stylised pictures, each against its own content; FD is the Fréchet distance on features of an
    Inception that was trained on art. Pictures ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8, at their own size, at
    least 16 pixels a side (32 for AlexNet); at least two stylised pictures and two different styles. At least 1, lower
    is better.

    A style that was used for several pictures counts once, as in every `metrics.set_distance.SetMetric`: copies, as
    some evaluations feed them, add no information but let 40 styles pass for 800. FD is that of the sets as they are;
    the authors' default extrapolates it to infinite sets from fits at 5000 pictures and more, which says nothing about
    smaller ones.

    Args:
        extractor: Art-Inception; gives vectors ``(B, D)`` at the tap from pictures in [0, 1] at their own size.
        perceptual: ``(a, b) -> (B,)`` on pictures in [0, 1]: LPIPS with AlexNet, as
            `lightning_modules.weights.load_lpips` returns it.
        tap: Which features.

    Attributes:
        content_distance: LPIPS as of the last ``compute``, nan before it.
        style_distance: FD as of the last ``compute``, nan before it.

    Source: Wright & Ommer 2022, section 3; their extrapolated default and copies of styles are left out, see above.

    Examples:
        >>> class Means(nn.Module):
        ...     def forward(self, images, taps):
        ...         return {tap: images.mean((2, 3)) for tap in taps}
        >>> class Gap(nn.Module):
        ...     def forward(self, a, b):
        ...         return (a - b).abs().mean((1, 2, 3))
        >>> metric = ArtFID(Means(), Gap())
        >>> grey = torch.tensor([0.0, 0.5]).view(2, 1, 1, 1).expand(2, 3, 16, 16)
        >>> metric.update(grey, real=False, content=grey + 0.5)
        >>> metric.update(grey, real=True)
        >>> metric.update(grey, real=True)  # the same styles again
        >>> float(metric.compute()), metric.sizes
        (1.5, (2, 2))
    """

    inputs: ClassVar[tuple[str, ...]] = ("stylized", "style", "content")
    higher_is_better = False
    plot_lower_bound = 1.0
    few = 2000
    warning = "few: FD is biased upwards, compare equal numbers only"

    def __init__(self, extractor: nn.Module, perceptual: nn.Module, tap: str = "pool3") -> None:
        super().__init__(extractor)
        self._perceptual = Held(perceptual)
        self.taps = (tap,)
        self.smallest = smallest_side(perceptual, 16)
        self.content_distance = self.style_distance = torch.nan

    @property
    def recipe(self) -> str:
        """Return how the number is computed from features and from pairs."""
        network = self._perceptual.network
        return (
            f"(1 + content distance) (1 + style distance): {type(network).__name__} with weights {source_of(network)}, "
            "mean of pairs, and Fréchet distance of the sets, unbiased covariances, no extrapolation"
        )

    def reset(self) -> None:
        """Forget everything seen so far."""
        super().reset()
        self.content_distance = self.style_distance = torch.nan

    def update(self, images: Tensor, *, real: bool, index: Tensor | None = None, content: Tensor | None = None) -> None:
        """Add pictures to one side.

        Args:
            images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8: stylised pictures, or styles.
            real: Whether they are styles.
            index: As in `metrics.set_distance.SetMetric`.
            content: The contents of the stylised pictures, shape as ``images``.

        Raises:
            ImpastoError: If the contents are missing, or shape, type, range or number is wrong.
        """
        if not len(images):
            return
        distance = None if real else self.content_distances(images, content)
        features = self.extract(images, self.inputs[1] if real else self.inputs[0])
        known = self._told_apart(images, index, real=real)
        self.update_features(features, real=real, index=known, content_distance=distance)

    def content_distances(self, stylized: Tensor, content: Tensor | None) -> Tensor:
        """Return how far each stylised picture is from its content, ``(B,)``, without counting it.

        Raises:
            ImpastoError: If the contents are missing, or shape, type or range is wrong.
        """
        if content is None:
            raise ImpastoError("ArtFID needs the content of every stylised picture.")
        check_pair(stylized, content, "stylized and content")
        with full_precision(stylized.device):
            pair = (as_pictures(stylized, "stylized", self.smallest), as_pictures(content, "content", self.smallest))
            distances: Tensor = self._perceptual.on(stylized.device)(*pair)
        return distances.flatten()

    def update_features(
        self,
        features: Features,
        *,
        real: bool,
        index: Tensor | None = None,
        content_distance: Tensor | None = None,
    ) -> None:
        """Add pictures whose features are known to one side.

        Args:
            features: The tap to vectors, ``(B, D)``.
            real: Whether they are styles.
            index: As in `metrics.set_distance.SetMetric`.
            content_distance: ``(B,)``, LPIPS of the stylised pictures to their contents.

        Raises:
            ImpastoError: If the content distances are missing, or widths or numbers do not fit each other.
        """
        vectors = self._rows(features).float()
        column = vectors.new_zeros(len(vectors)) if real else content_distance
        if column is None or column.shape != vectors.shape[:1]:
            raise ImpastoError("ArtFID needs the content of every stylised picture.")
        # As a column of the rows it is gathered with them, and repeated samples are dropped with theirs.
        rows = torch.cat([vectors, column.to(vectors)[:, None]], dim=1)
        super().update_features({self.taps[0]: rows}, real=real, index=index)

    def _beside(self, fields: Mapping[str, Any], *, real: bool) -> dict[str, Any]:
        if real:
            return {}
        return {"content_distance": self.content_distances(fields[self.inputs[0]], fields.get("content"))}

    def _between(self, generated: Tensor, reference: Tensor) -> Tensor:
        content = as_float64(generated[:, -1]).mean()
        style = frechet_distance(generated[:, :-1], reference[:, :-1])
        self.content_distance, self.style_distance = float(content), float(style)
        return (1 + content) * (1 + style)
