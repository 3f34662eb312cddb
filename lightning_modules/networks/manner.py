"""The manner of a style image as one vector, for layers that a style shapes."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.losses.precision import at_least_float32, without_autocast
from lightning_modules.losses.statistics import channel_statistics

MANNER_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
FLOOR = 0.02
"""Added to statistics before their logarithm; an encoder's maps have a mean of about 1."""
LARGEST = 3.0
"""Standard deviations from the mean painting that a statistic may have: a photograph, or a canvas of one colour."""


class MannerVector(nn.Module):
    """From the features of a style image to the vector that shapes the layers of a decoder.

    Logarithms of channel means and deviations, standardised over the paintings of the training, go through two linear
    layers and a layer norm. Raw statistics differ by orders of magnitude between channels and hardly at all between
    paintings: a decoder that took them as they are would see one vector for all styles.

    The moments that standardise are those of the first paintings of the training, and travel in checkpoints.

    Args:
        channels: Of `MANNER_LAYERS`.
        dim: Length of the vector.
        limit: Paintings after which the moments are held.

    Source: ours; the paper has no such path.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: Sequence[int], dim: int, limit: int = 1024) -> None:
        super().__init__()
        self.limit = limit
        count = 2 * sum(channels)
        self.mapping = nn.Sequential(nn.Linear(count, 2 * dim), nn.LeakyReLU(0.2), nn.Linear(2 * dim, dim))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("variance", torch.ones(count))
        self.paintings = 0  # on the host: what decides about a step must not be read back from an accelerator

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return vectors ``(B, dim)`` of mean 0 and variance 1, of maps ``(B, C, H, W)`` by layer."""
        with without_autocast(self.mean):
            deviations = (self.measure(features) - self.mean) / self.variance.clamp_min(1e-4).sqrt()
            vectors: Tensor = self.mapping(deviations.clamp(-LARGEST, LARGEST))
            return F.layer_norm(vectors, vectors.shape[1:])

    @staticmethod
    def measure(features: Mapping[str, Tensor]) -> Tensor:
        """Return the logarithms of the statistics, ``(B, 2 sum(channels))``, of maps ``(B, C, H, W)`` by layer."""
        moments = [part for name in MANNER_LAYERS for part in channel_statistics(at_least_float32(features[name]))]
        return torch.cat([part.flatten(1) for part in moments], 1).add(FLOOR).log()

    @property
    def settled(self) -> bool:
        """Whether `update` has nothing more to learn."""
        return self.paintings >= self.limit

    @torch.no_grad()
    def update(self, measures: Tensor) -> None:
        """Fold what `measure` returns of training paintings, of all ranks, into the moments, unless it is `settled`.

        Source: Chan, Golub & LeVeque 1979, eq. 2.1, for moments of two groups.
        """
        if self.settled:
            return
        self.paintings += len(measures)
        share = len(measures) / self.paintings
        variance, mean = torch.var_mean(measures, 0, correction=0)
        between = share * (1 - share) * (mean - self.mean).square()
        self.variance.lerp_(variance, share).add_(between)
        self.mean.lerp_(mean, share)

    def get_extra_state(self) -> Tensor:
        """Return the number of paintings that the moments have seen, for checkpoints."""
        return torch.tensor(self.paintings)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it."""
        self.paintings = int(state)
