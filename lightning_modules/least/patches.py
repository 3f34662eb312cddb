"""The patches of eq. 2: where they may lie, how they are drawn, and all their warps at once."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.least.canvas import Box
from lightning_modules.least.settings import Patches

LEAST_SIDE = 16


class Places(NamedTuple):
    """Where a job's patches may lie.

    Attributes:
        corners: Top and left of every place, ``(K, 2)``, int64, on the CPU.
        side: Of the patches, in pixels of the canvas.
    """

    corners: Tensor
    side: int


class Draw(NamedTuple):
    """One iteration's patches of one job, on the CPU.

    Attributes:
        corners: Top and left, ``(C, 2)``, int64.
        ends: Where the corners of the square go: upper left, upper right, lower right, lower left, each x and y in
            pixels of the patch, ``(C, 4, 2)``, int64.
        side: Of the square.
    """

    corners: Tensor
    ends: Tensor
    side: int


def places(mask: Tensor, box: Box, settings: Patches) -> Places:
    """Return where patches may lie: in the region's box, or around it where it is smaller than they are.

    Args:
        mask: ``(1, S, S)`` of the canvas, in [0, 1].
        box: Of the region on the canvas.
        settings: Of the patches.

    Source: the ranges of the public notebook (top left corner per axis, last pixel inclusive); the share of region
        that a patch must have is ours.
    """
    side = settings.size
    if settings.fit_box:
        side = max(min(side, *box.size), min(side, LEAST_SIDE))
    side = min(side, mask.shape[-1])
    rows, columns = (_range(start, end, side) for start, end in ((box.top, box.bottom), (box.left, box.right)))
    corners = torch.cartesian_prod(rows, columns)
    if settings.coverage:
        share = _coverage(mask[0].cpu(), corners, side)
        share = share / float(mask.max())
        corners = corners[share >= min(settings.coverage, float(share.max()) - 1e-6)]
    return Places(corners, side)


def _range(start: int, end: int, side: int) -> Tensor:
    limit = max(end - side, 0)
    return torch.arange(limit, start) if limit < start else torch.arange(start, limit + 1)


def _coverage(mask: Tensor, corners: Tensor, side: int) -> Tensor:
    """Return the mean of the mask in every square; outside of the canvas it is 0."""
    padded = F.pad(mask.double(), (1, side, 1, side))
    sums = padded.cumsum(0).cumsum(1)
    top, left = corners.T
    total = sums[top + side, left + side] - sums[top, left + side] - sums[top + side, left] + sums[top, left]
    return total / side**2


def draw(where: Places, settings: Patches, generator: torch.Generator) -> Draw:
    """Draw one iteration's patches.

    Args:
        where: Of `places`.
        settings: Of the patches.
        generator: On the CPU.

    Source: torchvision's ``RandomPerspective``: every corner moves inwards by up to half the side times the
        distortion.
    """
    numbers = torch.rand(settings.count, 9, generator=generator, dtype=torch.float64)
    corners = where.corners[(numbers[:, 0] * len(where.corners)).long()]
    reach = int(settings.distortion * (where.side // 2)) + 1
    inwards = (numbers[:, 1:].view(-1, 4, 2) * reach).long()
    far = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.bool)
    return Draw(corners, torch.where(far, where.side - 1 - inwards, inwards), where.side)


def homographies(ends: Tensor, side: int) -> Tensor:
    """Return the perspective maps that move the corners of a square, all solved at once.

    Args:
        ends: ``(C, 4, 2)``, as of `Draw`.
        side: Of the square.

    Returns:
        ``(C, 8)``, float64: a to h of ``x' = (ax + by + c) / (gx + hy + 1)``, ``y' = (dx + ey + f) / (gx + hy + 1)``,
        which say for a pixel of the result where it comes from.
    """
    last = side - 1
    starts = torch.tensor([[0, 0], [last, 0], [last, last], [0, last]], dtype=torch.float64).expand(len(ends), 4, 2)
    x, y = ends.double().unbind(-1)
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    rows = [
        torch.stack([x, y, ones, zeros, zeros, zeros, -starts[..., 0] * x, -starts[..., 0] * y], -1),
        torch.stack([zeros, zeros, zeros, x, y, ones, -starts[..., 1] * x, -starts[..., 1] * y], -1),
    ]
    maps: Tensor = torch.linalg.solve(torch.cat(rows, 1), torch.cat([starts[..., 0], starts[..., 1]], 1))
    return maps


def cut(image: Tensor, drawn: Draw, *, darken_twice: bool) -> Tensor:
    """Cut a draw's squares out of a picture and see them from their angles, in one gather and one sampling.

    Args:
        image: ``(3, S, S)``.
        drawn: Of `draw`.
        darken_twice: See `Patches`.

    Returns:
        ``(C, 3, side, side)``; black outside of a warped square and of the picture.
    """
    side, device = drawn.side, image.device
    steps = torch.arange(side, device=device)
    top, left = (drawn.corners[:, axis].to(device) for axis in (0, 1))
    padded = F.pad(image, (0, side, 0, side))
    rows, columns = (top[:, None] + steps)[:, :, None], (left[:, None] + steps)[:, None, :]
    squares = padded[:, rows, columns].transpose(0, 1)
    if bool((drawn.ends == _unmoved(side)).all()):
        return squares
    # Rounded as torchvision rounds them.
    return _warp(squares, homographies(drawn.ends, side).float().to(image), darken_twice=darken_twice)


def _unmoved(side: int) -> Tensor:
    return torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]]) * (side - 1)


def _warp(squares: Tensor, maps: Tensor, *, darken_twice: bool) -> Tensor:
    side = squares.shape[-1]
    centres = torch.arange(side, device=squares.device, dtype=squares.dtype) + 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    upper = points @ (maps[:, :6].view(-1, 2, 3) / (0.5 * side)).transpose(1, 2)  # C, side^2, 2
    below = points @ torch.cat([maps[:, 6:], torch.ones_like(maps[:, :1])], 1)[..., None]
    grid = (upper / below - 1).view(-1, side, side, 2)
    if not darken_twice:
        return F.grid_sample(squares, grid, align_corners=False)
    sampled = F.grid_sample(F.pad(squares, (0, 0, 0, 0, 0, 1), value=1.0), grid, align_corners=False)
    return sampled[:, :3] * sampled[:, 3:]
