"""What a pixel means: profiles, depths, modes and transparency of pictures become sRGB with 8 bits a channel."""

import io
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_STRAIGHT = {"La": "LA", "RGBa": "RGBA"}  # colours that were multiplied by their opacity
_GREY = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_SAME = 1  # levels: what a profile of sRGB itself differs by, which is no reason to touch a pixel
_TIFF_BITS, _TIFF_SENSE = 258, 262
_WHITE_IS_ZERO = 0


class UnknownColoursError(ValueError):
    """Nothing says what the numbers of a picture mean; the message goes on after the file's name."""


class ProfileError(Exception):
    """A colour profile that cannot be used; the message says why."""


class Depth(NamedTuple):
    """What the numbers of a grey picture mean that has more than 8 bits.

    Attributes:
        white: The number that stands for white, where 0 is black.
        inverted: Whether they count the other way round.
    """

    white: float = 65535.0
    inverted: bool = False


def depth_of(image: Image.Image) -> Depth:
    """Read the depth from a file's header; it has to be asked before the pixels are turned or copied.

    Raises:
        UnknownColoursError: If it has whole numbers of a depth of which nobody knows what is white.
    """
    if image.mode == "F":
        return Depth(1.0)
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        if image.mode == "I" and image.format not in ("PPM", "PNG"):
            raise UnknownColoursError("has whole numbers of 32 bits, and nothing says which of them is white")
        return Depth()
    bits = tags.get(_TIFF_BITS, (8,))[0]
    if image.mode == "I":
        raise UnknownColoursError(f"has signed or {bits}-bit whole numbers, and nothing says which of them is white")
    deep = image.mode.startswith("I;16")  # of 8 bits, Pillow has turned the sense itself
    return Depth(2.0**bits - 1 if deep else 65535.0, deep and tags.get(_TIFF_SENSE) == _WHITE_IS_ZERO)


def to_srgb(image: Image.Image, depth: Depth, profile: bytes | None) -> Image.Image:
    """Convert a picture to sRGB, over white where it is transparent.

    Args:
        image: A loaded picture of any mode.
        depth: What `depth_of` said about its file.
        profile: The ICC profile to convert from; None takes colours for sRGB, as every viewer does.

    Returns:
        A picture of mode RGB.

    Raises:
        ProfileError: If the profile is damaged or not one of such a picture; without it the picture can be converted.
        UnknownColoursError: If floats are not in [0, 1], or not finite.
    """
    image = _in_mode(image, _STRAIGHT.get(image.mode, image.mode))
    opacity = opacity_of(image)
    colours = _grey(image, depth, profile) if image.mode in _GREY else _colours(image, profile)
    if opacity is None:
        return colours
    return Image.composite(colours, Image.new("RGB", colours.size, "white"), opacity)


def opacity_of(image: Image.Image) -> Image.Image | None:
    """Return how opaque every pixel is, mode L; None where all are."""
    if not image.has_transparency_data:
        return None
    image = image.convert(_STRAIGHT[image.mode]) if image.mode in _STRAIGHT else image
    if image.mode.startswith("I"):  # PNG names one grey that is not there
        opaque = np.asarray(image) != image.info["transparency"]
        return Image.fromarray(opaque.astype(np.uint8) * 255)
    return image.convert("RGBA").getchannel("A")


def _colours(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "LAB":
        return _lab().apply(image)
    if image.mode == "CMYK":
        transform = None if profile is None else _transform(profile, "CMYK")
        return image.convert("RGB") if transform is None else transform.apply(image)
    colours = _in_mode(_without_transparency(image), "RGB")
    transform = None if profile is None else _transform(profile, "RGB")
    return colours if transform is None else transform.apply(colours)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert a picture, where it is of another mode; Pillow would copy all of it in any case."""
    return image if image.mode == mode else image.convert(mode)


def _without_transparency(image: Image.Image) -> Image.Image:
    """Drop a note of transparency that Pillow would complain about in a conversion."""
    if "transparency" not in image.info or image.mode == "P":
        return image
    plain = image.copy()
    del plain.info["transparency"]
    return plain


def _grey(image: Image.Image, depth: Depth, profile: bytes | None) -> Image.Image:
    curve = None if profile is None else _curve(profile)
    if image.mode in ("1", "L", "LA"):
        levels = image.getchannel("L") if image.mode == "LA" else _without_transparency(image).convert("L")
        if curve is None:
            return levels.convert("RGB")
        return Image.fromarray(curve[np.asarray(levels)])
    numbers = np.asarray(image, dtype=np.float32) / depth.white
    if image.mode == "F":
        _check_floats(numbers)
    shares = np.clip(1 - numbers if depth.inverted else numbers, 0, 1) * 255
    if curve is None:
        return Image.fromarray((shares + 0.5).astype(np.uint8)).convert("RGB")
    channels = [np.interp(shares, np.arange(256), curve[:, channel]) + 0.5 for channel in range(3)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def _check_floats(numbers: NDArray[np.float32]) -> None:
    if not np.isfinite(numbers).all():
        raise UnknownColoursError("holds values that are no numbers")
    low, high = float(numbers.min()), float(numbers.max())
    if low < -0.01 or high > 1.01:  # filters overshoot a little
        raise UnknownColoursError(f"holds values from {low:.4g} to {high:.4g}, and nothing says which of them is white")


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from a profile to sRGB; None where both are the same.

    Raises:
        ProfileError: If the profile cannot be read, or describes another kind of colours.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != {"L": "GRAY"}.get(mode, mode):
            raise ProfileError(f"it describes {space} colours, and these are {mode}")
        transform = ImageCms.ImageCmsTransform(source, _named("sRGB"), mode, "RGB")
    except (OSError, TypeError, ValueError, ImportError) as error:
        raise ProfileError(str(error) or type(error).__name__) from error
    probe = _probe(mode)
    changed = np.asarray(transform.apply(probe)).astype(int) - np.asarray(probe.convert("RGB"))
    return transform if mode == "CMYK" or np.abs(changed).max() > _SAME else None


@lru_cache(maxsize=32)
def _curve(profile: bytes) -> NDArray[np.uint8] | None:
    """Return the sRGB colours of the 256 greys, ``(256, 3)``; a profile of colours has greys too."""
    ramp = _probe("L")
    is_grey = profile[16:20] == b"GRAY"
    transform = _transform(profile, "L" if is_grey else "RGB")
    if transform is None:
        return None
    curve: NDArray[np.uint8] = np.asarray(transform.apply(ramp if is_grey else ramp.convert("RGB")))[0]
    return curve


@lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.ImageCmsTransform(_named("LAB"), _named("sRGB"), "LAB", "RGB")


def _named(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space))


def _probe(mode: str) -> Image.Image:
    """Return all greys for mode L, else colours from all over the space."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(*[levels] * len(mode), indexing="ij"), -1)
    return Image.frombytes(mode, (grid.size // len(mode), 1), grid.tobytes())
