"""What the distances of two sets of pictures have in common: a convention that says how many pictures there were."""

from abc import abstractmethod

from torch import Tensor, nn

from metrics.base import SetMetric, source_of


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
    """

    few: int = 0
    warning: str = ""
    sizes: tuple[int, int] | None

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__(extractor)
        self.sizes = None

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
        line += f", {self.sizes[0]} generated and {self.sizes[1]} reference pictures"
        return f"{line} ({self.warning})" if min(self.sizes) < self.few else line

    def reset(self) -> None:
        """Forget everything seen so far."""
        super().reset()
        self.sizes = None

    def _distance(self, real: Tensor, fake: Tensor) -> Tensor | dict[str, Tensor]:
        self.sizes = (len(fake), len(real))
        return self._between(fake, real)
