"""A sheet of small pictures with a few words below each, to look through many at once."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lightning_modules.files import write_atomically
from lightning_modules.paths import shown

Tile = tuple[NDArray[np.uint8], str]
"""A picture ``(H, W, 3)``, and up to two lines of words."""
SIDE, WORDS, GAP = 160, 34, 6
LONGEST = 26  # letters of a line


def write_contact_sheet(path: Path, tiles: Iterable[Tile], columns: int = 8) -> Path:
    """Draw pictures in rows, from left to right.

    Args:
        path: File to write, PNG or JPEG.
        tiles: Pictures with their words; each is fitted into a square.
        columns: Pictures of a row.

    Returns:
        ``path``.
    """
    shrunk = [(_fitted(pixels), words) for pixels, words in tiles]
    rows = max(1, -(-len(shrunk) // columns))
    step, height = SIDE + GAP, SIDE + WORDS + GAP
    sheet = Image.new("RGB", (columns * step + GAP, rows * height + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (picture, words) in enumerate(shrunk):
        left, top = GAP + place % columns * step, GAP + place // columns * height
        sheet.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))
        lines = [_shortened(line) for line in shown(words).splitlines()[:2]]
        pen.multiline_text((left, top + SIDE + 2), "\n".join(lines), "black", font, spacing=2)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=90)
    write_atomically(path, buffer.getvalue())
    return path


def _fitted(pixels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    return picture


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST else f"...{line[3 - LONGEST :]}"
