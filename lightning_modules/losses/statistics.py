"""Mean and spread of feature maps: what adaptive instance normalisation takes for style."""

from torch import Tensor

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
    mean = features.mean((2, 3), keepdim=True)
    return mean, features.var((2, 3), keepdim=True).add(eps).sqrt()


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
    return (at_least_float32(features) - mean) / std
