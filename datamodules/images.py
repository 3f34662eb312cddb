"""Read and write pictures: whatever a user has on disk becomes RGB in [0, 1], or one clear sentence."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WRITABLE_SUFFIXES = frozenset(_WRITABLE)
# What Pillow's decoders raise on damaged files, apart from OSError.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


class ImageReadError(ImpastoError):
    """A file that cannot be read as a picture; data sets skip it, commands stop with its message."""


def read_image(path: Path | str) -> Tensor:
    """Read a picture as a person would see it.

    Applies the EXIF rotation, scales 16-bit depths, converts CMYK, grey and palette pictures, lays transparency over
    white and takes the first frame of an animation.

    Args:
        path: A file in any format that Pillow decodes; the suffix does not matter.

    Returns:
        ``(3, H, W)``, float32, RGB in [0, 1].

    Raises:
        ImageReadError: If the file is missing, a folder, empty, damaged, truncated or not a picture.
    """
    return torch.from_numpy(read_pixels(path)).permute(2, 0, 1).float().div_(255.0)


def read_pixels(path: Path | str, *, short_side: int | None = None) -> NDArray[np.uint8]:
    """Read a picture as bytes: what :func:`read_image` returns before it becomes floats.

    Args:
        path: As in :func:`read_image`.
        short_side: Decode a JPEG at the smallest scale (1/1 to 1/8) whose short side has at least this many pixels,
            which is several times faster for museum-sized scans; other formats ignore it.

    Returns:
        ``(H, W, 3)``, uint8, RGB, writable.

    Raises:
        ImageReadError: As in :func:`read_image`.
    """
    path = Path(path)
    _check_file(path)
    try:
        with Image.open(path) as image:
            if short_side is not None:
                image.draft(image.mode, (short_side, short_side))
            image.load()
            return np.array(_to_rgb(_upright(image)))
    except UnidentifiedImageError as error:
        raise ImageReadError(f"{path} is not a picture, whatever its name says: convert it to PNG or JPEG.") from error
    except _DECODE_ERRORS as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ImageReadError(f"{path} is damaged or truncated ({reason}): replace or remove it.") from error


def write_image(image: Tensor, path: Path | str) -> None:
    """Write a picture so that the file appears whole or not at all.

    Args:
        image: ``(3, H, W)``, RGB; values outside [0, 1] are clipped.
        path: Target with suffix png, jpg, jpeg or webp; missing folders are made.

    Raises:
        ImpastoError: If the suffix is another one, or the picture cannot be written there.
    """
    path = Path(path)
    file_format = _WRITABLE.get(path.suffix.lower())
    if file_format is None:
        raise ImpastoError(f"Cannot write {path}: choose a name that ends in .png, .jpg or .webp.")
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected an image of shape (3, H, W), got {tuple(image.shape)}")
    pixels = image.detach().float().cpu().clamp(0, 1).mul(255).add(0.5).byte().permute(1, 2, 0).contiguous().numpy()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(Image.fromarray(pixels), path, file_format)
    except OSError as error:
        raise ImpastoError(f"Cannot write {path} ({error.strerror or error}): choose another place.") from error


def list_images(folder: Path | str) -> list[Path]:
    """List the pictures under a folder, sorted by path, hidden files left out.

    Args:
        folder: Searched recursively for files with one of ``IMAGE_SUFFIXES``, in any letter case.

    Returns:
        At least one path, each starting with ``folder``.

    Raises:
        ImpastoError: If the folder does not exist or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImpastoError(f"The folder {folder} does not exist: check the path.")
    found = sorted(_walk(folder))
    if not found:
        raise ImpastoError(f"No pictures under {folder}: it should hold files such as .jpg or .png.")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (Path(parent, name) for name in names if is_image_name(name))


def is_image_name(name: str) -> bool:
    """Tell whether a file name looks like a picture's; the dot files that some systems leave behind do not."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _check_file(path: Path) -> None:
    if not path.exists():
        raise ImageReadError(f"The picture {path} does not exist: check the path.")
    if path.is_dir():
        raise ImageReadError(f"{path} is a folder where a picture was expected: give a file in it.")
    if path.stat().st_size == 0:
        raise ImageReadError(f"{path} is an empty file: replace or remove it.")


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except _DECODE_ERRORS:  # a broken EXIF block beside a sound picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips at 255 instead of scaling
        grey = np.clip(np.asarray(image, dtype=np.float32) / 257.0, 0, 255)
        return Image.fromarray((grey + 0.5).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.clip(np.nan_to_num(np.asarray(image, dtype=np.float32)), 0, 1)
        return Image.fromarray((grey * 255 + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _save(image: Image.Image, path: Path, file_format: str) -> None:
    with replacing(path) as temporary:  # a hidden name, which list_images leaves out
        image.save(temporary, format=file_format, quality=95)
