"""What keeps a discriminator from growing too steep: a penalty on its gradient at true pictures."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.losses.precision import without_autocast


def r1_penalty(scores: Tensor, inputs: Sequence[Tensor], weight: float = 1.0) -> Tensor:
    """Return ``weight / 4 sum_x mean_b |d (sum_k D_bk) / d x_b|^2``, whose own gradient reaches the discriminator.

    The half of R1, halved once more since there are two inputs.

    Args:
        scores: Logits of true patches, ``(B, K)``, computed in full precision; those of one picture do not depend on
            another picture.
        inputs: The x that they were computed from and that require gradients, ``(B, ...)`` each: all reference patches
            and all patches of a picture.
        weight: gamma of R1.

    Returns:
        A scalar, at least 0.

    Source: Mescheder et al. 2018, eq. 9.
    """
    with without_autocast(scores):  # a backward pass under autocast multiplies matrices in half precision
        gradients = torch.autograd.grad(scores.sum(), list(inputs), create_graph=True)
    squares = [gradient.flatten(1).square().sum(1).mean() for gradient in gradients]
    return weight / 4 * torch.stack(squares).sum()
