"""Jobs: pictures, regions and words, with everything about them that no iteration changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.least.canvas import Box, Frame
from lightning_modules.least.patches import Places
from lightning_modules.networks.vgg import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class Order:
    """What is to be painted.

    Attributes:
        content: ``(N, 3, H, W)``, RGB in [0, 1].
        mask: ``(N, 1, H, W)`` in [0, 1].
        prompts: N styles in words.
        seed: Of all random numbers of each of them, so that a job does not depend on those beside it.
        context: Surroundings that a cropped canvas shows, as a share of the region's box.
    """

    content: Tensor
    mask: Tensor
    prompts: Sequence[str]
    seed: int = 0
    context: float = 0.5

    def __len__(self) -> int:
        return len(self.content)


@dataclass(frozen=True)
class Jobs:
    """N jobs as they lie on their canvases of S pixels a side.

    Attributes:
        order: What was asked for.
        frames: What of its picture each canvas shows.
        content: ``(N, 3, S, S)``, RGB in [0, 1].
        seen: What network and losses get for it: the same, or normalised once too often, as in the public code.
        begin: Where the painting begins, ``(N, 3, S, S)``, RGB in [0, 1]; None where it begins with noise.
        mask: ``(N, 1, S, S)`` in [0, 1].
        boxes: Of the content term, on the canvas.
        places: Of the patches.
        words: Vectors of the styles, ``(N, D)``.
        plain: That of the source text, ``(1, D)``.
        whole: Vectors of the contents, ``(N, D)``.
        masked: Vectors of the contents' regions, ``(N, D)``.
        maps: The contents' features in their boxes, by layer.
        box_masks: The masks in these boxes, ``(N, 1, s, s)``.
    """

    order: Order
    frames: list[Frame]
    content: Tensor
    seen: Tensor
    begin: Tensor | None
    mask: Tensor
    boxes: list[Box]
    places: list[Places]
    words: Tensor
    plain: Tensor
    whole: Tensor
    masked: Tensor
    maps: dict[str, Tensor]
    box_masks: Tensor

    def __len__(self) -> int:
        return len(self.content)


def crops(images: Tensor, boxes: Sequence[Box], side: int) -> Tensor:
    """Cut every picture's box out and resize it, ``(N, C, side, side)``."""
    return torch.cat(
        [
            F.interpolate(box.of(image)[None], (side, side), mode="bilinear", antialias=True)
            for image, box in zip(images, boxes, strict=True)
        ]
    )


def normalised_once_more(images: Tensor) -> Tensor:
    """Return ImageNet-normalised pictures, which the public notebook takes for pictures in [0, 1]."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1).to(images) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std
