"""The door through which pictures come into a metric."""

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError

TOLERANCE = 1e-3


def as_pictures(images: Tensor, name: str, smallest: int = 1) -> Tensor:
    """Return pictures as float32 in [0, 1].

    Args:
        images: ``(B, 3, H, W)``, RGB, float in [0, 1] or uint8 in [0, 255]: the type says which, never the values.
        name: What the pictures are, for the error message.
        smallest: Side in pixels that the metric needs.

    Returns:
        ``(B, 3, H, W)``, float32; what left [0, 1] by rounding is clamped.

    Raises:
        ImpastoError: If the shape, the type or the range is another, a value is nan, or the pictures are too small.

    Examples:
        >>> float(as_pictures(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), "content").max())
        1.0
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ImpastoError(f"The {name} pictures must be (B, 3, H, W), got {tuple(images.shape)}.")
    if min(images.shape[-2:]) < smallest:
        raise ImpastoError(f"The {name} pictures must be at least {smallest} pixels a side, got {tuple(images.shape)}.")
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise ImpastoError(f"The {name} pictures must be float in [0, 1] or uint8, got {images.dtype}.")
    if images.numel():
        low, high = (float(value) for value in images.detach().aminmax())
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise ImpastoError(f"The {name} pictures must lie in [0, 1], got values from {low:.3g} to {high:.3g}.")
    return images.detach().float().clamp(0, 1)


def check_pair(a: Tensor, b: Tensor, names: str) -> None:
    """Refuse two batches that cannot be compared pixel by pixel.

    Raises:
        ImpastoError: If their shapes differ.
    """
    if a.shape != b.shape:
        raise ImpastoError(f"The {names} pictures differ in shape: {tuple(a.shape)} and {tuple(b.shape)}.")
