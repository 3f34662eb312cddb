"""Training pictures in two manners at once, so that prompts of several weighted clauses are nothing new later."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.losses.statistics import channel_statistics
from lightning_modules.losses.style import Statistics

# A clause below a third of the whole hardly shows, and then the other one alone is a sufficient answer.
SMALLEST_WEIGHT = 1 / 3


class Mixture(NamedTuple):
    """Who is mixed with whom.

    Attributes:
        mixed: The first ``mixed`` samples of the batch are mixtures; a fixed number, so that ranks gather equal shapes.
        partner: ``(B,)``, int64, the sample that brings the second clause.
        weight: ``(B, 1)``, of the sample's own clause; 1 where nothing is mixed in.
    """

    mixed: int
    partner: Tensor
    weight: Tensor

    def blend(self, own: Tensor) -> Tensor:
        """Return ``weight * own + (1 - weight) * own[partner]`` for values ``(B, ...)`` of the samples."""
        weight = self.weight.to(own).view(-1, *[1] * (own.dim() - 1))
        return torch.lerp(own[self.partner], own, weight)

    def style_statistics(self, features: Mapping[str, Tensor]) -> dict[str, Statistics]:
        """Return channel means and deviations of the style maps ``(B, C, h, w)``, blended, by layer."""
        blended = {}
        for name, maps in features.items():
            mean, std = channel_statistics(maps)
            blended[name] = (self.blend(mean), self.blend(std))
        return blended


def draw_mixture(size: int, share: float, device: torch.device) -> Mixture:
    """Pair the samples of a batch.

    The partner lies half a batch away: in batches of P artists times K contents, with P at least 2, another artist.

    Args:
        size: B.
        share: Of the batch that is mixed, in [0, 1].
        device: Where the batch is.
    """
    mixed = round(share * size)
    weight = torch.ones(size, 1, device=device)
    weight[:mixed].uniform_(SMALLEST_WEIGHT, 1 - SMALLEST_WEIGHT)
    return Mixture(mixed, torch.arange(size, device=device).roll(size // 2), weight)
