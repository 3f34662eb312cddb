"""Losses of discriminators that score patches, and of who paints for them."""

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


def hinge_discriminator(
    real: Sequence[Tensor], fake: Sequence[Tensor], foreign: Sequence[Tensor] = (), weight: Tensor | None = None
) -> Tensor:
    """Return ``mean(max(0, 1 - D(real))) + mean(max(0, 1 + D(fake)))``, averaged over heads.

    Args:
        real: Scores of each head on what it shall take for real, any shape.
        fake: The same on what the generator made.
        foreign: The same on a second kind of fakes, ``(B, K, ...)``: true pictures under conditions that are not
            theirs. Both kinds count the same.
        weight: How much every pair of these counts, ``(B, K)``, not negative; where all are 0 there is one kind.

    Returns:
        A scalar, at least 0; 2 where it knows nothing.

    Source: Lim & Ye 2017 (Geometric GAN), eq. 11; Miyato et al. 2018, eq. 16; the second kind is that of Reed et al.
        2016 (GAN-CLS), algorithm 1.

    Examples:
        >>> float(hinge_discriminator([torch.tensor([2.0, 0.0])], [torch.tensor([0.0])]))
        1.5
    """
    accepted = [F.relu(1 - at_least_float32(scores)).mean() for scores in real]
    rejected = [F.relu(1 + at_least_float32(scores)).mean() for scores in fake]
    if weight is not None:
        rejected = [_with_foreign(*pair, weight) for pair in zip(rejected, foreign, strict=True)]
    return torch.stack(accepted).mean() + torch.stack(rejected).mean()


def _with_foreign(rejected: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
    each = F.relu(1 + at_least_float32(scores)).flatten(2).mean(2)  # B, K
    count = weight.sum()
    mean = (each * weight).sum() / count.clamp_min(1)
    return torch.where(count > 0, (rejected + mean) / 2, rejected)  # asks nothing back from an accelerator


def least_squares(scores: Sequence[Tensor], real: bool) -> Tensor:
    """Return ``mean((D - target)^2)`` summed over scales, target 1 for real and 0 for fake.

    Args:
        scores: Patch logits of each scale.
        real: What the scores should say.

    Source: Mao et al. 2017 (LSGAN), eq. 9 without the factor 1/2; public ContraAST code.
    """
    return torch.stack([(at_least_float32(score) - float(real)).square().mean() for score in scores]).sum()


def log_likelihood(scores: Sequence[Tensor], real: bool) -> Tensor:
    """Return ``-mean(log D)`` for real and ``-mean(log(1 - D))`` for fake, summed over scales; D = sigmoid(score).

    Args:
        scores: Patch logits of each scale.
        real: What the scores should say.

    Source: ContraAST eq. 2, negated.
    """
    sign = -1.0 if real else 1.0
    return torch.stack([F.softplus(sign * at_least_float32(score)).mean() for score in scores]).sum()
