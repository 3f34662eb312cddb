"""How light a picture is, and how steeply that changes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.losses.precision import at_least_float32

LUMA = (0.299, 0.587, 0.114)


def luma(images: Tensor) -> Tensor:
    """Return how light the pictures are, ``(B, 1, H, W)``."""
    return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def sobel_magnitude(images: Tensor) -> Tensor:
    """Return the length of the Sobel gradient of the pictures' luma; no gradient passes through it.

    ``sqrt((K * y)^2 + (K^T * y)^2)`` with ``K = [1, 2, 1]^T [-1, 0, 1]`` and replicated borders.

    Args:
        images: ``(B, 3, H, W)``, in [0, 1].

    Returns:
        ``(B, 1, H, W)``, at least float32; a step from 0 to 1 along a row or a column is 4.

    Examples:
        >>> step = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 3, 4, 4)
        >>> sobel_magnitude(step)[0, 0, 0].tolist()
        [0.0, 4.0, 4.0, 0.0]
    """
    with torch.no_grad():
        light = F.pad(luma(at_least_float32(images)), (1, 1, 1, 1), mode="replicate")
        down = light[..., :-2, :] + 2 * light[..., 1:-1, :] + light[..., 2:, :]
        across = light[..., :-2] + 2 * light[..., 1:-1] + light[..., 2:]
        return torch.hypot(down[..., 2:] - down[..., :-2], across[..., 2:, :] - across[..., :-2, :])
