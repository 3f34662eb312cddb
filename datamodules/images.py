"""Read and write pictures: whatever a user has on disk becomes RGB in [0, 1], or one clear sentence."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from datamodules.colours import Depth, ProfileError, UnknownColoursError, depth_of, opacity_of, to_srgb
from datamodules.folders import list_files
from datamodules.image_formats import IMAGE_SUFFIXES, is_raw, open_image, refusal
from datamodules.notes import note
from datamodules.records import Stored
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing

_WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_ORIENTATION = 274  # the tag of EXIF
WRITABLE_SUFFIXES = frozenset(_WRITABLE)


class ImageReadError(ImpastoError):
    """A file that cannot be read as a picture; data sets skip it, commands stop with its message."""


def read_image(path: Stored | str) -> Tensor:
    """Read a picture as a person would see it.

    Applies the EXIF rotation, converts colours from the embedded profile to sRGB, scales other depths to 8 bits, lays
    transparency over white and takes the first frame of an animation. Without a profile, or with a damaged one, of
    which a note is made, colours are sRGB.

    Args:
        path: A file, or a record in one, in any format that Pillow decodes, or HEIC where pillow-heif is installed; the
            suffix does not matter, except for those of cameras' raw files.

    Returns:
        ``(3, H, W)``, float32, RGB in [0, 1].

    Raises:
        ImageReadError: If the file is missing, a folder, empty, damaged, truncated or not a picture, if it is beyond a
            limit of its decoder, or if nothing says what its numbers mean.
    """
    return torch.from_numpy(read_pixels(path)).permute(2, 0, 1).float().div_(255.0)


def read_pixels(path: Stored | str, *, short_side: int | None = None) -> NDArray[np.uint8]:
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
    return np.array(_read(path, short_side))


def read_shrunk(path: Stored | str, short_side: int | None) -> NDArray[np.uint8]:
    """Read a picture as bytes, brought to a short side where it is larger, bicubic with antialiasing.

    Args:
        path: As in :func:`read_image`.
        short_side: In pixels; None leaves pictures as they are.

    Returns:
        ``(H, W, 3)``, uint8, RGB, not to be written to.

    Raises:
        ImageReadError: As in :func:`read_image`.
    """
    image = _read(path, short_side)
    if short_side is None or min(image.size) <= short_side:
        return np.asarray(image)
    factor = short_side / min(image.size)
    target = (max(short_side, round(image.width * factor)), max(short_side, round(image.height * factor)))
    return np.asarray(image.resize(target, Image.Resampling.BICUBIC))  # before it is copied into an array


def read_opacity(path: Path | str) -> Tensor | None:
    """Read how opaque a picture is.

    Args:
        path: As in :func:`read_image`.

    Returns:
        ``(1, H, W)``, float32 in [0, 1]; None for a picture of a kind without transparency.

    Raises:
        ImageReadError: As in :func:`read_image`.
    """
    opacity = opacity_of(_loaded(Path(path))[0])
    return None if opacity is None else torch.from_numpy(np.array(opacity))[None].float().div_(255.0)


def write_image(image: Tensor, path: Path | str, texts: Mapping[str, str] | None = None) -> None:
    """Write a picture so that the file appears whole or not at all.

    Args:
        image: ``(3, H, W)``, RGB; values outside [0, 1] are clipped.
        path: Target with suffix png, jpg, jpeg or webp; missing folders are made.
        texts: What a PNG file says of itself, by keyword; other formats leave it out.

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
        _save(Image.fromarray(pixels), path, file_format, texts or {})
    except OSError as error:
        raise ImpastoError(f"Cannot write {path} ({error.strerror or error}): choose another place.") from error


def list_images(folder: Path | str, *, aliases: bool = False) -> list[Path]:
    """List the pictures under a folder, sorted by path, every file once; other visible files are noted.

    Args:
        folder: Searched recursively for files with one of ``IMAGE_SUFFIXES``, in any letter case.
        aliases: List a file under every path that leads to it.

    Returns:
        At least one path, each starting with ``folder``.

    Raises:
        ImpastoError: If the folder does not exist or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImpastoError(f"The folder {folder} does not exist: check the path.")
    found = list_files(folder, lambda path: is_image_name(path.name), aliases=aliases)
    if not found:
        raise ImpastoError(f"No pictures under {folder}: it should hold files such as .jpg or .png.")
    return found


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
    if is_raw(path):
        raise ImageReadError(f"{path} is a camera's raw file: develop it to TIFF or JPEG.")


def _loaded(path: Stored, short_side: int | None = None) -> tuple[Image.Image, Depth]:
    """Open, decode and turn a picture, whatever its kind; see `read_pixels`."""
    if isinstance(path, Path):
        _check_file(path)
    try:
        with open_image(path) as image:
            depth = depth_of(image)
            if short_side is not None:
                image.draft(image.mode, (short_side, short_side))
            image.load()
            return upright(image), depth
    except UnknownColoursError as error:
        raise ImageReadError(_unknown(path, error)) from error
    except ImpastoError:  # the file that holds a record is missing or damaged: no picture to be skipped
        raise
    except Exception as error:  # of damaged files, decoders complain in every way there is
        raise ImageReadError(refusal(path, error)) from error


def _read(path: Stored | str, short_side: int | None) -> Image.Image:
    path = Path(path) if isinstance(path, str) else path
    image, depth = _loaded(path, short_side)
    return _converted(image, depth, path)


def upright(image: Image.Image) -> Image.Image:
    """Return a picture turned as its EXIF block says; where it says nothing, the same object."""
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image  # Pillow would copy it in any case
    except Exception:  # a broken EXIF block beside a sound picture
        return image


def _converted(image: Image.Image, depth: Depth, path: Stored) -> Image.Image:
    try:
        return to_srgb(image, depth, image.info.get("icc_profile"))
    except ProfileError as error:
        note(f"{path} has a colour profile that cannot be used ({error}): its colours are taken for sRGB.")
        return to_srgb(image, depth, None)
    except UnknownColoursError as error:
        raise ImageReadError(_unknown(path, error)) from error


def _unknown(path: Stored, error: UnknownColoursError) -> str:
    return f"{path} {error}: save it as 8-bit PNG."


def _save(image: Image.Image, path: Path, file_format: str, texts: Mapping[str, str]) -> None:
    said = PngInfo()
    for keyword, text in texts.items():
        said.add_itxt(keyword, text)
    with replacing(path) as temporary:  # a hidden name, which list_images leaves out
        image.save(temporary, format=file_format, quality=95, pnginfo=said)
