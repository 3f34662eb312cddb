"""Pictures that keep their own numbers: 16 bits, transparency and profile, outside of what was painted."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor

from datamodules.images import ImageReadError, upright, write_image
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

Numbers = NDArray[Any]
_ORIENTATION = 274  # the tag of EXIF
_COLOUR_TYPES = {3: 2, 4: 6}  # PNG's, by the number of channels: RGB, RGBA


class Original(NamedTuple):
    """A picture as its file has it, upright.

    Attributes:
        numbers: ``(H, W, 3)`` or, with opacity, ``(H, W, 4)``; uint8 or uint16.
        profile: The ICC profile that its colours are in; None for sRGB.
    """

    numbers: Numbers
    profile: bytes | None = None


def write_over(painted: Tensor, mask: Tensor, source: Path, target: Path) -> None:
    """Write a painting so that every pixel outside its mask has the numbers that it has in the source's file.

    A PNG has 16 bits, an opacity and a profile where the source has them; what was painted is converted to that, and
    a picture that was grey has three equal numbers outside. Every other format, and a painting of another size than
    the source, is written as `write_image` does.

    Args:
        painted: ``(3, H, W)``, RGB in [0, 1]; over white where the source is transparent, as `read_image` shows it.
        mask: ``(1, H, W)``: where it is above 0, the painting stands.
        source: The picture that was painted.
        target: The file to write.

    Raises:
        ImpastoError: If the picture cannot be written there.
    """
    original = read_original(source) if target.suffix.lower() == ".png" else None
    if original is None or original.numbers.shape[:2] != tuple(painted.shape[-2:]):
        write_image(painted, target)
        return
    numbers = original.numbers.copy()
    inside = (mask[0] > 0).cpu().numpy()
    numbers[inside, :3] = _numbers(painted, original)[inside]
    try:
        write_atomically(target, encode_png(Original(numbers, original.profile)))
    except OSError as error:
        raise ImpastoError(f"Cannot write {target} ({error.strerror or error}): choose another place.") from error


def read_original(path: Path) -> Original | None:
    """Read a picture's own numbers, turned upright.

    Returns:
        None for a kind of picture of which a PNG cannot hold the numbers: CMYK, Lab, floats, other profiles than RGB's.

    Raises:
        ImageReadError: If the file cannot be read.
    """
    try:
        with Image.open(path) as image:
            kind, mode = image.format, image.mode
            profile, orientation = image.info.get("icc_profile"), _orientation(image)
            if profile is not None and not _is_rgb(profile):
                return None
            if kind == "PNG" and (deep := _deep(path)) is not None:
                return Original(_turned(deep, orientation), profile)
            if mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}:
                return None
            alpha = image.has_transparency_data
            numbers = np.array(upright(image).convert("RGBA" if alpha else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageReadError(f"{path} cannot be read again ({error}): leave it where it is.") from error
    return Original(numbers, profile)


def encode_png(original: Original) -> bytes:
    """Return a PNG file of 8 or 16 bits a channel; Pillow writes no colours of 16."""
    numbers = original.numbers
    height, width, channels = numbers.shape
    bits = numbers.dtype.itemsize * 8
    rows = numbers.astype(numbers.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    # Each row as its difference from the row above (filter 2) packs photographs well.
    filtered = np.concatenate([rows[:1], rows[1:] - rows[:-1]])
    data = np.concatenate([np.full((height, 1), 2, np.uint8), filtered], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [_chunk(b"IHDR", header)]
    if original.profile is not None:
        chunks.append(_chunk(b"iCCP", b"icc\0\0" + zlib.compress(original.profile)))
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks, _chunk(b"IDAT", zlib.compress(data, 6)), _chunk(b"IEND", b"")])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _numbers(painted: Tensor, original: Original) -> Numbers:
    """Return a painting in the depth and the profile of an original, ``(H, W, 3)``, as it is seen over white."""
    colours = painted.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).double().numpy()
    if original.profile is not None:
        colours = _into(original.profile, colours)
    top = np.iinfo(original.numbers.dtype).max
    if original.numbers.shape[2] == 4:  # c, where c a + 1 - a is what was painted
        opacity = original.numbers[..., 3:] / top
        colours = np.clip((colours - 1 + opacity) / np.maximum(opacity, 1 / top), 0, 1)
    numbers: Numbers = (colours * top + 0.5).astype(original.numbers.dtype)
    return numbers


def _into(profile: bytes, colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB to a profile, in 8 bits, as it was read."""
    source = ImageCms.createProfile("sRGB")
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = Image.fromarray((colours * 255 + 0.5).astype(np.uint8))
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    return np.asarray(converted) / 255


def _is_rgb(profile: bytes) -> bool:
    try:
        return bool(ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip() == "RGB")
    except (OSError, TypeError, ValueError):
        return False


def _deep(path: Path) -> NDArray[np.uint16] | None:
    """Return the numbers of a picture of 16 bits, ``(H, W, C)``; None of any other. Pillow would halve them."""
    import av

    with av.open(str(path)) as container:
        frame: Any = next(container.decode(video=0))
    name = frame.format.name
    if name not in {"gray16be", "gray16le", "ya16be", "ya16le", "rgb48be", "rgb48le", "rgba64be", "rgba64le"}:
        return None
    wide = "rgba64le" if name.startswith(("ya", "rgba")) else "rgb48le"
    if not name.startswith("rgb"):
        return _from_grey(frame)
    return np.asarray(frame.reformat(format=wide).to_ndarray(), dtype=np.uint16)


def _from_grey(frame: Any) -> NDArray[np.uint16]:
    """Read grey, with or without opacity, of a frame's own bytes: a conversion could round."""
    channels = 2 if frame.format.name.startswith("ya") else 1
    plane = frame.planes[0]
    order = ">u2" if frame.format.name.endswith("be") else "<u2"
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(frame.height, plane.line_size)
    grey = rows[:, : frame.width * channels * 2].copy().view(order).reshape(frame.height, frame.width, channels)
    return np.concatenate([grey[..., :1]] * 3 + [grey[..., 1:]], axis=-1).astype(np.uint16)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block beside a sound picture
        return 1


def _turned(numbers: Numbers, orientation: int) -> Numbers:
    """Turn a picture upright.

    Source: EXIF 2.3, table 6, on the tag Orientation.
    """
    turns = {
        2: numbers[:, ::-1],
        3: numbers[::-1, ::-1],
        4: numbers[::-1],
        5: numbers.transpose(1, 0, 2),
        6: numbers.transpose(1, 0, 2)[:, ::-1],
        7: numbers[::-1, ::-1].transpose(1, 0, 2),
        8: numbers.transpose(1, 0, 2)[::-1],
    }
    return np.ascontiguousarray(turns.get(orientation, numbers))
