"""Roughness of a picture."""

from torch import Tensor


def total_variation(images: Tensor) -> Tensor:
    """Return the mean squared difference of horizontal neighbours plus that of vertical neighbours.

    Args:
        images: ``(B, C, H, W)``, both sides at least 2 pixels.

    Returns:
        A scalar, at least 0, in squared units of the input; independent of the picture's size.

    Raises:
        ValueError: If a side is a single pixel, which has no neighbour.

    Source: the smoothness term of Johnson et al. 2016, section 3.2, as a mean instead of a sum.

    Examples:
        >>> import torch
        >>> float(total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])))
        1.0
    """
    if min(images.shape[-2:]) < 2:
        raise ValueError(f"total variation needs two pixels a side, got {tuple(images.shape)}")
    horizontal = images[..., :, 1:] - images[..., :, :-1]
    vertical = images[..., 1:, :] - images[..., :-1, :]
    return horizontal.square().mean() + vertical.square().mean()
