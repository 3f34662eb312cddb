"""Pictures by number: read, kept in memory where asked, and counted where they cannot be read; crops in bytes."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datamodules.images import ImageReadError, read_shrunk
from datamodules.records import Stored

Pixels = NDArray[np.uint8]


class UnreadablePictureWarning(UserWarning):
    """A file of a data set was skipped; the message carries the count so far."""


class PictureStore:
    """The pictures of one data set, read by position.

    The record of unreadable files lies in shared memory, so that data loader workers and the main process count the
    same file once.

    Args:
        paths: Files, or records in them; a position in this list is a picture's number.
        short_side: Shrink pictures to this short side, in pixels, as they are read; smaller ones stay as they are.
        keep: Keep what was read in memory.
    """

    def __init__(self, paths: Sequence[Stored], *, short_side: int | None = None, keep: bool = False) -> None:
        self.paths = paths
        self.short_side = short_side
        self._bad = torch.zeros(len(self.paths), dtype=torch.bool).share_memory_()
        self._kept: dict[int, Pixels] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def unreadable(self) -> int:
        """Number of files that could not be read so far, in all processes."""
        return int(self._bad.sum())

    def unreadable_paths(self) -> list[Stored]:
        """Return the places of those files."""
        return [self.paths[int(position)] for position in self._bad.nonzero()]

    def get(self, position: int) -> Pixels | None:
        """Read one picture.

        Returns:
            ``(H, W, 3)``, uint8, RGB, not to be written to; None, after one warning per file, where it is unreadable.
        """
        if self._bad[position]:
            return None
        if self._kept is not None and position in self._kept:
            return self._kept[position]
        try:
            pixels = read_shrunk(self.paths[position], self.short_side)
        except ImageReadError as error:
            self._bad[position] = True
            message = f"Skipped {self.unreadable} unreadable of {len(self)} pictures so far; the newest: {error}"
            warnings.warn(message, UnreadablePictureWarning, stacklevel=2)
            return None
        if self._kept is not None:
            self._kept[position] = pixels
        return pixels

    def read_all(self) -> None:
        """Fill the memory now, so that forked workers share it instead of each reading for itself."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes without holding the GIL
            for _ in pool.map(self.get, range(len(self))):
                pass

    def first_readable(self) -> int | None:
        """Find the first picture that can be read; None where there is none."""
        return next((position for position in range(len(self)) if self.get(position) is not None), None)


def random_crop(
    pixels: Pixels,
    size: int,
    rng: np.random.Generator,
    *,
    resize: int | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    flip: bool = True,
) -> Pixels:
    """Cut a random square window and bring it to a size; the aspect ratio is kept and nothing is rotated.

    Args:
        pixels: ``(H, W, 3)``, uint8.
        size: Side of the result, in pixels.
        rng: Gives the window and the flip; the number of draws does not depend on the picture.
        resize: Short side that the picture is imagined at before the cut, in pixels; None takes it as it is.
        scale: Range of the window's side as a multiple of ``size``; the window shrinks to fit into small pictures.
        flip: Mirror left and right in half of the cases.

    Returns:
        ``(size, size, 3)``, uint8.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    multiple, down, right, mirrored = rng.uniform(scale[0], scale[1]), rng.random(), rng.random(), rng.random() < 0.5
    pixel = short / resize if resize is not None else 1.0
    side = max(1, min(short, round(size * multiple * pixel)))
    top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
    window = _to_side(pixels[top : top + side, left : left + side], size)
    return window[:, ::-1] if flip and mirrored else window


def centre_crop(pixels: Pixels, size: int) -> Pixels:
    """Cut the largest square from the middle and bring it to a size.

    Args:
        pixels: ``(H, W, 3)``, uint8.
        size: Side of the result, in pixels.

    Returns:
        ``(size, size, 3)``, uint8.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return _to_side(pixels[top : top + side, left : left + side], size)


def stretched(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bring a picture to a height and a width in pixels; one that has them is returned as it is.

    Args:
        pixels: ``(H, W, 3)``, uint8.
        height: Of the result.
        width: Of the result.

    Returns:
        ``(height, width, 3)``, uint8.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def to_short_side(pixels: Pixels, short_side: int) -> Pixels:
    """Bring a picture to a short side in pixels, larger or smaller than it is; the aspect ratio is kept.

    Args:
        pixels: ``(H, W, 3)``, uint8.
        short_side: Of the result.

    Returns:
        ``(h, w, 3)``, uint8.
    """
    height, width = pixels.shape[:2]
    factor = short_side / min(height, width)
    return stretched(pixels, max(short_side, round(height * factor)), max(short_side, round(width * factor)))


def _to_side(window: Pixels, size: int) -> Pixels:
    return stretched(window, size, size)
