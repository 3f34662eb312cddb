"""The crops that patch-wise directional CLIP looks at: random squares, seen from random angles."""

from collections.abc import Callable
from typing import Any, Self

import torch
from kornia.augmentation import RandomPerspective
from torch import Tensor


class HostPerspective(RandomPerspective):
    """kornia's random perspective, with its random numbers on the host wherever the module goes.

    Once ``to`` has taken kornia's own to an accelerator, every call copies its settings back and waits for them.

    Args:
        distortion: Scale of the distortion, in [0, 1].
    """

    def __init__(self, distortion: float) -> None:
        super().__init__(distortion, p=1.0)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:  # noqa: ARG002
        return self


def random_squares(images: Tensor, count: int, size: int) -> Tensor:
    """Cut random squares out of pictures, patch-major.

    Args:
        images: ``(B, C, H, W)``.
        count: Squares of each picture.
        size: Their side in pixels; that of the picture where it is smaller.

    Returns:
        ``(count * B, C, size, size)``: the first square of every picture, then the second of every picture.
    """
    side = min(size, *images.shape[-2:])
    limits = torch.tensor([images.shape[-2] - side + 1, images.shape[-1] - side + 1])
    corners = (torch.rand(count, len(images), 2) * limits).long().tolist()
    return torch.stack(
        [
            image[:, top : top + side, left : left + side]
            for row in corners
            for image, (top, left) in zip(images, row, strict=True)
        ]
    )
