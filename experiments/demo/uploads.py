"""What a user uploads: looked at before it is decoded, and brought to the size of the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.image_formats import open_image, refusal
from datamodules.images import ImageReadError, read_shrunk
from datamodules.masks import read_mask
from experiments.painting.inference import fit_within
from lightning_modules.errors import ImpastoError


class Limits(NamedTuple):
    """What the page takes.

    Attributes:
        megabytes: Of one file.
        pixels: Of one picture, before it is decoded: a file of kilobytes may unfold to gigabytes.
        side: Longer side that is painted, in pixels; larger pictures are shrunk.
        waiting: Pictures that wait for the device; more are turned away.
    """

    megabytes: int = 20
    pixels: int = 50_000_000
    side: int = 1024
    waiting: int = 16


def read_photograph(path: Path, what: str, limits: Limits) -> Tensor:
    """Read an upload.

    Args:
        path: Where the server put it.
        what: What it is called in an error, instead of its path: ``The photograph``.
        limits: Of the page.

    Returns:
        ``(3, H, W)``, RGB in [0, 1], no side longer than ``limits.side``.

    Raises:
        ImpastoError: If it is too large, or no picture.
    """
    with _called(path, what):
        width, height = _check(path, what, limits)
        shrinks = max(width, height) > limits.side
        short = max(1, round(min(width, height) * limits.side / max(width, height)))
        pixels = read_shrunk(path, short if shrinks else None)
        picture = torch.tensor(pixels).permute(2, 0, 1).float().div_(255)
        return fit_within(picture, limits.side)  # its short side was rounded up


def read_region(path: Path, what: str, limits: Limits) -> Tensor:
    """Read an upload that says where to paint, ``(1, H, W)`` in [0, 1]; otherwise as `read_photograph`."""
    with _called(path, what):
        _check(path, what, limits)
        return fit_within(read_mask(path), limits.side)


@contextmanager
def _called(path: Path, what: str) -> Iterator[None]:
    """Let no error name a path of the server's."""
    try:
        yield
    except ImpastoError as error:
        raise ImpastoError(str(error).replace(str(path), what)) from error


def _check(path: Path, what: str, limits: Limits) -> tuple[int, int]:
    """Return width and height of a picture that nobody has decoded yet."""
    size = path.stat().st_size if path.is_file() else 0
    if size > limits.megabytes * 2**20:
        raise ImpastoError(f"{what} has {size / 2**20:.0f} MB, more than the {limits.megabytes} that this page takes.")
    try:
        with open_image(path) as image:
            width, height = image.size
    except Exception as error:  # of damaged files, decoders complain in every way there is
        raise ImageReadError(refusal(path, error)) from error
    if width * height > limits.pixels:
        raise ImpastoError(
            f"{what} has {width} x {height} pixels, more than the {limits.pixels / 1e6:.0f} million that this page "
            "takes: shrink it."
        )
    return width, height
