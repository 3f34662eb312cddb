"""Hinge losses of a discriminator that scores patches."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.losses.precision import at_least_float32


def hinge_generator(fake: Sequence[Tensor]) -> Tensor:
    """Return ``-mean(D(fake))``, averaged over heads.

    Args:
        fake: Scores of each head on the generator's pictures, any shape.

    Returns:
        A scalar, unbounded.

    Source: Lim & Ye 2017 (Geometric GAN), eq. 12; Miyato et al. 2018, eq. 17.
    """
    return -torch.stack([at_least_float32(scores).mean() for scores in fake]).mean()


def hinge_discriminator(real: Sequence[Tensor], *fakes: Sequence[Tensor]) -> Tensor:
    """Return ``mean(max(0, 1 - D(real))) + mean(max(0, 1 + D(fake)))``, averaged over heads.

    Args:
        real: Scores of each head on what it shall take for real, any shape.
        *fakes: The same of each kind of what it shall not; all kinds count the same. An empty kind is left out.

    Returns:
        A scalar, at least 0; 2 where it knows nothing.

    Source: Lim & Ye 2017 (Geometric GAN), eq. 11; Miyato et al. 2018, eq. 16.

    Examples:
        >>> float(hinge_discriminator([torch.tensor([2.0, 0.0])], [torch.tensor([0.0])]))
        1.5
    """
    losses = []
    for own, *others in zip(real, *fakes, strict=True):
        rejected = [F.relu(1 + at_least_float32(scores)).mean() for scores in others if scores.numel()]
        losses.append(F.relu(1 - at_least_float32(own)).mean() + torch.stack(rejected).mean())
    return torch.stack(losses).mean()
