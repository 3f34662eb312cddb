"""Where to paint: masks from files and from boxes."""

import math
import re
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.images import read_image, read_opacity
from lightning_modules.errors import ImpastoError


class Box(NamedTuple):
    """A rectangle from (x0, y0) to (x1, y1), in pixels or as shares of width and height."""

    x0: float
    y0: float
    x1: float
    y1: float
    shares: bool


def read_mask(path: Path | str) -> Tensor:
    """Read a mask: the opacity of a picture that has any transparency, else its brightness.

    Args:
        path: A picture of any kind and size.

    Returns:
        ``(1, H, W)``, float32 in [0, 1]: 1 where to paint.

    Raises:
        ImageReadError: If the file cannot be read as a picture.
    """
    opacity = read_opacity(path)
    if opacity is None or bool((opacity == 1).all()):
        return read_image(path).mean(0, keepdim=True)
    return opacity


def parse_box(text: str) -> Box:
    """Read ``x0,y0,x1,y1``: pixels, or shares of width and height where a number has a point.

    Examples:
        >>> parse_box("10,20,110,220")
        Box(x0=10.0, y0=20.0, x1=110.0, y1=220.0, shares=False)
        >>> parse_box("0.5,0,1,1").shares
        True

    Raises:
        ImpastoError: If it is no box.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 4 or not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", word) for word in words):
        raise ImpastoError(f"A box is four numbers, x0,y0,x1,y1 in pixels or in shares such as 0.25, not '{text}'.")
    x0, y0, x1, y1 = (float(word) for word in words)
    shares = "." in text
    if x0 >= x1 or y0 >= y1 or (shares and max(x1, y1) > 1):
        within = " and shares end at 1" if shares else ""
        raise ImpastoError(f"The box {text} is empty or outside the picture: x0 < x1 and y0 < y1{within}.")
    return Box(x0, y0, x1, y1, shares)


def parse_point(text: str) -> tuple[float, float, bool]:
    """Read ``x,y``: pixels, or shares of width and height where a number has a point.

    Returns:
        Both numbers, and whether they are shares.

    Examples:
        >>> parse_point("0.25,0.5")
        (0.25, 0.5, True)

    Raises:
        ImpastoError: If it is no point.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2 or not all(re.fullmatch(r"\d+(\.\d*)?|\.\d+", word) for word in words):
        raise ImpastoError(f"A point is two numbers, x,y in pixels or in shares such as 0.25, not '{text}'.")
    x, y = (float(word) for word in words)
    shares = "." in text
    if shares and max(x, y) > 1:
        raise ImpastoError(f"The point {text} lies outside the picture: shares end at 1.")
    return x, y, shares


def box_mask(box: Box, height: int, width: int) -> Tensor:
    """Return the mask of a box, every pixel that it touches.

    Args:
        box: The box.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.

    Returns:
        ``(1, H, W)``, float32, 0 or 1.

    Raises:
        ImpastoError: If the box lies outside the picture.
    """
    across, down = (width, height) if box.shares else (1, 1)
    left, top = math.floor(box.x0 * across), math.floor(box.y0 * down)
    right, bottom = math.ceil(box.x1 * across), math.ceil(box.y1 * down)
    if left >= width or top >= height:
        raise ImpastoError(f"The box starts at ({left}, {top}), outside the picture of {width} x {height} pixels.")
    mask = torch.zeros(1, height, width)
    mask[:, top:bottom, left:right] = 1
    return mask


def fit_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """Return a mask ``(1, h, w)`` at the size of a picture, ``(1, H, W)``; soft where its edges fall between pixels."""
    if mask.shape[-2:] == (height, width):
        return mask
    return F.interpolate(mask[None], (height, width), mode="bilinear", antialias=True)[0].clamp(0, 1)
