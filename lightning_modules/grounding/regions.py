"""What grounding hands out: masks of parts of a picture, and what can be done with them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.conditions import shrink
from lightning_modules.errors import ImpastoError

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
LONGEST = 2048
"""Longest side, in pixels, of pictures that a segmenter looks at."""


class NotFoundError(ImpastoError):
    """A phrase for which there is nothing in the picture."""


class Region(NamedTuple):
    """A part of a picture.

    Attributes:
        mask: ``(1, H, W)``, float in [0, 1]: 1 inside.
        box: Around it, in pixels.
        score: How sure its source is, in [0, 1].
        source: Who found it, for example "grounding-dino + sam".
    """

    mask: Tensor
    box: Box
    score: float
    source: str


class Grounder(Protocol):
    """Finds what a phrase names."""

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return regions, the best first.

        Args:
            image: ``(3, H, W)``, RGB in [0, 1].
            phrase: A noun phrase, such as "the leftmost chair".

        Raises:
            NotFoundError: If there is no such thing in the picture.
            ImpastoError: If the grounder cannot work.
        """


def region_of(mask: Tensor, score: float, source: str) -> Region:
    """Return the region of a mask ``(1, H, W)``.

    Raises:
        NotFoundError: If the mask is empty.
    """
    return Region(mask, box_around(mask), score, source)


def box_around(mask: Tensor) -> Box:
    """Return the box of all pixels of ``(1, H, W)`` that are at least half inside, or else inside at all.

    Raises:
        NotFoundError: If the mask is empty.
    """
    inside = mask[0] >= 0.5
    if not inside.any():
        inside = mask[0] > 0
    if not inside.any():
        raise NotFoundError("The region is empty: nothing of the picture belongs to it.")
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    return float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1


def united(regions: Sequence[Region]) -> Region:
    """Return all regions as one; its score is the least."""
    if len(regions) == 1:
        return regions[0]
    mask = torch.stack([region.mask for region in regions]).amax(0)
    source = " and ".join(dict.fromkeys(region.source for region in regions))
    return region_of(mask, min(region.score for region in regions), source)


def outside(region: Region) -> Region:
    """Return what a region leaves of the picture.

    Raises:
        NotFoundError: If it leaves nothing.
    """
    return region_of(1 - region.mask, region.score, region.source)


def clip_box(box: Box, size: tuple[int, int]) -> Box:
    """Return the part of a box within a picture of that height and width.

    Raises:
        ImpastoError: If it has none.
    """
    height, width = size
    x0, y0, x1, y1 = box
    if min(x1, width) <= max(x0, 0) or min(y1, height) <= max(y0, 0):
        raise ImpastoError(
            f"The box {', '.join(f'{side:g}' for side in box)} is empty or outside the picture of {width} x {height} "
            "pixels."
        )
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def cleaned(mask: Tensor, share: float = 0.01) -> Tensor:
    """Fill small holes of a mask ``(1, H, W)`` of 0 and 1, and drop small specks.

    Args:
        mask: The mask.
        share: What is small: this part of the mask's largest piece.
    """
    inside = mask[0].cpu().numpy() >= 0.5
    pieces, count = ndimage.label(inside)
    if not count:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    smallest = share * sizes.max()
    kept = (sizes >= smallest)[pieces]
    holes, _ = ndimage.label(~kept)
    areas = np.bincount(holes.ravel())
    areas[0] = 0
    at_edge = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    fillable = areas < smallest
    fillable[at_edge] = False
    fillable[0] = True
    return torch.from_numpy(fillable[holes])[None].to(mask)


def feathered_box(box: Box, size: tuple[int, int], share: float = 0.04) -> Tensor:
    """Return the mask of a box that fades towards its sides, ``(1, H, W)``.

    Args:
        box: Within the picture.
        size: Height and width.
        share: Width of the ramp, as a part of the box's shorter side.
    """
    height, width = size
    x0, y0, x1, y1 = box
    ramp = max(1.0, share * min(x1 - x0, y1 - y0))
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    # A side that lies on the picture's own is no border that could show.
    across = torch.minimum(_fade(x - x0, ramp, x0 <= 0), _fade(x1 - x, ramp, x1 >= width))
    down = torch.minimum(_fade(y - y0, ramp, y0 <= 0), _fade(y1 - y, ramp, y1 >= height))
    return torch.minimum(across[None], down[:, None])[None]


def _fade(depth: Tensor, ramp: float, at_edge: bool) -> Tensor:
    return torch.ones_like(depth) if at_edge else (depth / ramp).clamp(0, 1)


def working_copy(image: Tensor, longest: int = LONGEST) -> tuple[Tensor, float]:
    """Return a picture ``(3, H, W)`` with no side longer than that, and its size as a share of the original's."""
    small = shrink(image[None], longest)[0]
    return small, max(small.shape[-2:]) / max(image.shape[-2:])


def at_size(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a mask ``(1, h, w)`` at the size of a picture, soft where its edges fall between pixels."""
    if mask.shape[-2:] == size:
        return mask
    return F.interpolate(mask[None], size, mode="bilinear", align_corners=False)[0].clamp(0, 1)


def to_bytes(image: Tensor) -> np.ndarray:
    """Return ``(3, H, W)`` in [0, 1] as ``(H, W, 3)``, uint8."""
    pixels: np.ndarray = image.detach().float().cpu().clamp(0, 1).mul(255).add(0.5).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pixels)
