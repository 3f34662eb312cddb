"""The way of a picture onto the square that a network is fitted on, and of the result back into the picture."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.conditions import resized
from lightning_modules.errors import ImpastoError
from lightning_modules.least.settings import Canvas

LEAST_WINDOW = 32  # pixels of the picture: what is smaller has nothing to show of its surroundings


class Box(NamedTuple):
    """A rectangle of pixels; ``bottom`` and ``right`` lie outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width."""
        return self.bottom - self.top, self.right - self.left

    def of(self, images: Tensor) -> Tensor:
        """Cut it out of ``(..., H, W)``."""
        return images[..., self.top : self.bottom, self.left : self.right]


class Frame(NamedTuple):
    """Which window of a picture a canvas shows, and how large it is there, from the upper left corner on."""

    window: Box
    shown: tuple[int, int]


def box_of(mask: Tensor, solid: float) -> Box:
    """Return the compact box around a region.

    Args:
        mask: ``(1, H, W)`` in [0, 1].
        solid: A pixel belongs to the box where the mask is at least this share of its greatest value.

    Raises:
        ImpastoError: If the mask is empty.
    """
    greatest = mask.max()
    if not float(greatest):
        raise ImpastoError("The mask is empty: there is nowhere to paint.")
    inside = mask[0] >= solid * greatest
    rows, columns = (torch.nonzero(inside.any(axis)).flatten() for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def frame_of(mask: Tensor, settings: Canvas, context: float, side: int) -> Frame:
    """Return what of a picture comes onto a canvas.

    With ``crop``, that is the region's box and a share of it around; then as much more of the shorter side as makes it
    a square, for more surroundings cost nothing.

    Args:
        mask: ``(1, H, W)`` in [0, 1].
        settings: Of the canvas.
        context: Surroundings on every side, as a share of the box.
        side: Of this canvas, in pixels.

    Raises:
        ImpastoError: If the mask is empty.
    """
    height, width = mask.shape[-2:]
    box = box_of(mask, settings.solid)
    window = (
        _square(_widened(box, context, height, width), height, width) if settings.crop else Box(0, 0, height, width)
    )
    if not settings.keep_aspect:
        return Frame(window, (side, side))
    longest = max(window.size)
    shown = [max(1, round(length * side / longest)) for length in window.size]
    return Frame(window, (shown[0], shown[1]))


def onto_canvas(image: Tensor, frame: Frame, side: int) -> Tensor:
    """Return a picture's window on its canvas.

    Args:
        image: ``(3, H, W)``, RGB in [0, 1].
        frame: Of `frame_of`.
        side: Of the canvas.

    Returns:
        ``(3, side, side)``; what the window does not fill goes on with its reflection.
    """
    shown = resized(frame.window.of(image)[None], frame.shown)[0]
    while shown.shape[-2:] != (side, side):  # a reflection is at most as long as what it reflects
        height, width = shown.shape[-2:]
        down, across = min(side - height, max(height - 1, 1)), min(side - width, max(width - 1, 1))
        mode = "reflect" if (down < height and across < width) else "replicate"
        shown = F.pad(shown[None], (0, across, 0, down), mode=mode)[0]
    return shown


def mask_onto_canvas(mask: Tensor, frame: Frame, side: int, interpolation: str) -> Tensor:
    """Return a mask's window on its canvas, ``(1, side, side)``; what the window does not fill is no region."""
    window = frame.window.of(mask)[None]
    if window.shape[-2:] != frame.shown:
        window = F.interpolate(window, frame.shown, mode=interpolation, antialias=True).clamp(0, 1)
    return F.pad(window[0], (0, side - frame.shown[1], 0, side - frame.shown[0]))


def into_picture(canvas: Tensor, frame: Frame, picture: Tensor) -> Tensor:
    """Paste a canvas back.

    Args:
        canvas: ``(3, side, side)``, RGB in [0, 1].
        frame: What it shows.
        picture: ``(3, H, W)``, of which the rest is taken.

    Returns:
        ``(3, H, W)``.
    """
    shown = canvas[:, : frame.shown[0], : frame.shown[1]]
    pasted = picture.clone()
    frame.window.of(pasted).copy_(resized(shown[None], frame.window.size)[0])
    return pasted


def feathered(mask: Tensor, pixels: float) -> Tensor:
    """Return masks whose borders fade inwards, so that nothing is painted outside.

    A mask too thin to fade stays as it is. The border of the picture is none of the region's.

    Args:
        mask: ``(B, 1, H, W)`` in [0, 1].
        pixels: Width of the fading; 0 leaves the mask alone.

    Returns:
        ``(B, 1, H, W)``, nowhere above ``mask``.
    """
    radius = round(pixels)
    if radius < 1:
        return mask
    blurred = mask
    for _ in range(2):  # twice a box is nearly a Gaussian
        padded = F.pad(blurred, (radius,) * 4, mode="replicate")
        blurred = F.avg_pool2d(padded, (2 * radius + 1, 1), stride=1)
        blurred = F.avg_pool2d(blurred, (1, 2 * radius + 1), stride=1)
    soft = mask * (2 * blurred - 1).clamp(0, 1)
    thin = soft.amax((1, 2, 3), keepdim=True) < 0.5 * mask.amax((1, 2, 3), keepdim=True)
    return torch.where(thin, mask, soft)


def _widened(box: Box, context: float, height: int, width: int) -> Box:
    down, across = (round(context * length) for length in box.size)
    return Box(
        max(0, box.top - down),
        max(0, box.left - across),
        min(height, box.bottom + down),
        min(width, box.right + across),
    )


def _square(box: Box, height: int, width: int) -> Box:
    side = max(*box.size, LEAST_WINDOW)
    top, bottom = _stretched(box.top, box.bottom, side, height)
    left, right = _stretched(box.left, box.right, side, width)
    return Box(top, left, bottom, right)


def _stretched(start: int, end: int, length: int, limit: int) -> tuple[int, int]:
    """Lengthen an interval evenly on both sides, as far as ``[0, limit)`` goes."""
    length = min(max(length, end - start), limit)
    start = min(max(0, start - (length - (end - start)) // 2), limit - length)
    return start, start + length
