"""Mean and spread of feature maps: what adaptive instance normalisation takes for style."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_modules.losses.precision import at_least_float32


def channel_statistics(features: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of every channel over space.

    ``std = sqrt(var + eps)`` with the unbiased variance.

    Args:
        features: ``(B, C, H, W)``, any range; half precision is computed and returned in float32.
        eps: Added to the variance, in squared feature units; keeps the gradient of a constant channel finite.

    Returns:
        Mean and standard deviation, each ``(B, C, 1, 1)``, in feature units.

    Raises:
        ValueError: If ``H * W < 2``, where a standard deviation does not exist.

    Source: Huang & Belongie 2017, eq. 5-6, with the unbiased variance and the eps of pytorch-AdaIN ``function.py``.

    Examples:
        >>> import torch
        >>> mean, std = channel_statistics(torch.ones(1, 2, 4, 4), eps=0.0)
        >>> mean.shape, float(std.max())
        (torch.Size([1, 2, 1, 1]), 0.0)
    """
    if features.shape[-2] * features.shape[-1] < 2:
        raise ValueError(f"a single-pixel feature map has no standard deviation, got {tuple(features.shape)}")
    features = at_least_float32(features)
    mean, variance = cast(tuple[Tensor, Tensor], _Moments.apply(features)) if _learns(features) else _moments(features)
    return mean, variance.add(eps).sqrt()


def normalize_channels(features: Tensor, eps: float = 1e-5) -> Tensor:
    """Return features whose channels have mean 0 and standard deviation 1 over space.

    Args:
        features: ``(B, C, H, W)``, any range.
        eps: As in `channel_statistics`; a channel that is constant becomes 0.

    Returns:
        ``(B, C, H, W)``, without unit.

    Raises:
        ValueError: If ``H * W < 2``.

    Source: Huang & Belongie 2017, eq. 5.
    """
    mean, std = channel_statistics(features, eps)
    centred = at_least_float32(features) - mean
    return centred / std if centred.requires_grad else centred.div_(std)  # a large picture's map is there once less


def _learns(features: Tensor) -> bool:
    return features.requires_grad and torch.is_grad_enabled()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    # In two passes: torch's own variance takes one, element by element, six times as long on a CPU.
    mean = features.mean((2, 3), keepdim=True)
    squares = (features - mean).square_().sum((2, 3), keepdim=True)
    return mean, squares.div_(features.shape[-2] * features.shape[-1] - 1)


class _Moments(torch.autograd.Function):
    """`_moments` whose gradient is one pass over the map: ``dL/dmean / N + dL/dvar 2 (x - mean) / (N - 1)``."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = _moments(features)
        ctx.save_for_backward(features, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mean: Tensor, by_variance: Tensor) -> Tensor:
        features, mean = ctx.saved_tensors
        count = features.shape[-2] * features.shape[-1]
        slope = by_variance * (2 / (count - 1))
        return torch.addcmul(by_mean / count - slope * mean, features, slope)
