"""Kinds of picture files: their suffixes, the packages that some of them need, and why a file cannot be read."""

import importlib
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from datamodules.records import Stored

RASTER = ".bmp .dib .gif .jfif .jpe .jpeg .jpg .mpo .apng .png .qoi .tga .tif .tiff .webp .pbm .pgm .ppm .pnm"
NEWER = ".avif .avifs .heic .heics .heif .heifs .hif .j2c .j2k .jp2 .jpc .jpf .jpx .jxl"
RAW = ".3fr .arw .cr2 .cr3 .dng .erf .iiq .nef .nrw .orf .pef .raf .raw .rw2 .srw"
IMAGE_SUFFIXES = frozenset([*RASTER.split(), *NEWER.split()])
RAW_SUFFIXES = frozenset(RAW.split())

# Pillow takes a megabyte of text beside the pixels for an attack; programs that paint keep their whole recipe there.
TEXT_LIMIT = 64 * 2**20
PngImagePlugin.MAX_TEXT_CHUNK = TEXT_LIMIT
PngImagePlugin.MAX_TEXT_MEMORY = 4 * TEXT_LIMIT
# What Pillow only warns of is read here, and what it refuses is refused in a sentence of ours.
warnings.filterwarnings("ignore", module=r"PIL\.")


class _Extra(NamedTuple):
    """A package that teaches Pillow to read a kind of file."""

    kind: str
    package: str
    module: str
    register: str = ""


_BRANDS = {
    "HEIC": (b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevm", b"hevs", b"hevx", b"mif1", b"msf1"),
    "AVIF": (b"avif", b"avis"),
}
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_EXTRAS = {
    "HEIC": _Extra("HEIC", "pillow-heif", "pillow_heif", "register_heif_opener"),
    "AVIF": _Extra("AVIF", "pillow>=11.3", "pillow_avif"),
    "JPEG XL": _Extra("JPEG XL", "pillow-jxl-plugin", "pillow_jxl"),
}


def open_image(path: Stored) -> Image.Image:
    """Open a picture, with the package that its kind needs where Pillow alone does not know it.

    Raises:
        UnidentifiedImageError: If it is not known what kind of picture it is, if any.
        Exception: What Pillow's decoders raise on damaged files; that may be almost anything.
    """
    source = path if isinstance(path, Path) else path.open()
    try:
        return Image.open(source)
    except UnidentifiedImageError:
        extra = _extra(path)
        if extra is None or not _installed(extra):
            raise
        return Image.open(source)


def is_raw(path: Stored) -> bool:
    """Tell by its name whether a file comes from a camera's sensor; Pillow would show the small preview in it."""
    return path.suffix.lower() in RAW_SUFFIXES


def refusal(path: Stored, error: BaseException) -> str:
    """Say in one sentence why a picture cannot be read, and what to do.

    Args:
        path: The file.
        error: What opening or decoding it raised.
    """
    if isinstance(error, UnidentifiedImageError):
        return _unknown(path)
    if isinstance(error, Image.DecompressionBombError):
        return f"{path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, the most that are read: shrink it."
    if isinstance(error, MemoryError):
        return f"{path} does not fit into memory: shrink it."
    if isinstance(error, OSError) and error.strerror:
        return f"{path} cannot be opened ({error.strerror}): check its permissions and its disk."
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "MAX_TEXT" in reason:
        return (
            f"{path} carries more than {TEXT_LIMIT // 2**20} MiB of text beside its pixels, the most that is read: "
            "save it again without its metadata."
        )
    return f"{path} is damaged or truncated ({reason}): replace or remove it."


def _unknown(path: Stored) -> str:
    extra = _extra(path)
    if extra is None:
        return f"{path} is not a picture, whatever its name says: convert it to PNG or JPEG."
    if _installed(extra):
        return f"{path} is damaged or truncated ({extra.kind}): replace or remove it."
    return f"{path} is {extra.kind}, which needs a package: pip install '{extra.package}', or convert it to JPEG."


def _extra(path: Stored) -> _Extra | None:
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_JPEG_XL):
        return _EXTRAS["JPEG XL"]
    kinds = (kind for kind, brands in _BRANDS.items() if head[4:8] == b"ftyp" and head[8:12] in brands)
    return next((_EXTRAS[kind] for kind in kinds), None)


def _installed(extra: _Extra) -> bool:
    try:
        module = importlib.import_module(extra.module)
    except ImportError:
        return False
    if extra.register:
        getattr(module, extra.register)()
    return True
