"""The distance that papers write and code rarely computes."""

import torch
from torch import Tensor

from lightning_modules.losses.precision import at_least_float32


def euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Return ``|a - b|_2`` of every sample, over all its elements, averaged over samples: the paper's norm.

    Args:
        a: ``(B, ...)``.
        b: The same shape.
    """
    difference = (at_least_float32(a) - at_least_float32(b)).flatten(1)
    norms: Tensor = torch.linalg.vector_norm(difference, dim=1)
    return norms.mean()
