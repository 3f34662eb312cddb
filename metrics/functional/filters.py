"""Filters of pictures that reach no further than the picture does."""

from collections.abc import Sequence

import torch
from torch import Tensor


def gaussian(window: int, sigma: float) -> list[float]:
    """Return the weights of a Gaussian, which add up to 1.

    Args:
        window: How many, odd.
        sigma: In pixels.
    """
    positions = torch.arange(window, dtype=torch.float64) - window // 2
    weights = torch.exp(-positions.square() / (2 * sigma**2))
    return [float(weight) for weight in weights / weights.sum()]


def correlate(x: Tensor, weights: Sequence[float], axis: int) -> Tensor:
    """Return sums of neighbours along one axis, where all of them lie inside the picture.

    Args:
        x: Any shape.
        weights: Of the neighbours, in their order.
        axis: Which one; it gets ``len(weights) - 1`` shorter.

    Examples:
        >>> correlate(torch.tensor([1.0, 2.0, 4.0]), (-1, 1), 0)
        tensor([1., 2.])
    """
    # Shifted sums instead of a convolution: as fast for one filter, and never TF32.
    length = x.shape[axis] - len(weights) + 1
    shifted = torch.zeros_like(x.narrow(axis, 0, length))
    for start, weight in enumerate(weights):
        shifted = shifted.add(x.narrow(axis, start, length), alpha=weight)
    return shifted


def blur(x: Tensor, weights: Sequence[float]) -> Tensor:
    """Return `correlate` with the same weights along the last two axes."""
    return correlate(correlate(x, weights, -2), weights, -1)
