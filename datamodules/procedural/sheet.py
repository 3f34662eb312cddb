"""The contact sheet: what every painter makes of the same few pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datamodules.procedural.contents import content
from datamodules.procedural.dataset import paint
from datamodules.procedural.painters import PAINTERS
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

_SHOWN = (2, 0, 1, 4, 10)  # places in the test split: two photographs and three scenes, all unlike each other
_LABEL_WIDTH = 230
_GAP = 4


def write_contact_sheet(path: Path, *, size: int = 256, seed: int = 0, columns: int = 5) -> Path:
    """Draw one row a painter, labelled, over the same contents of the test split; the first row is the contents.

    Args:
        path: PNG file to write.
        size: Height and width of each picture in pixels.
        seed: Seed of the data set.
        columns: Number of contents, at most 5.

    Returns:
        ``path``.

    Raises:
        ImpastoError: If the path does not end in ``.png``.
    """
    if path.suffix.lower() != ".png":
        raise ImpastoError(f"The contact sheet is a PNG file: {path} must end in .png.")
    pictures = [content("test", index, size, seed) for index in _SHOWN[:columns]]
    step = size + _GAP
    sheet = Image.new("RGB", (_LABEL_WIDTH + step * len(pictures), step * (len(PAINTERS) + 1)), "white")
    pen = ImageDraw.Draw(sheet)
    heading, small = ImageFont.load_default(22), ImageFont.load_default(14)
    rows = [("contents", "", [picture.image for picture in pictures])] + [
        (artist, painter.style, [paint(picture, artist, seed) for picture in pictures])
        for artist, painter in PAINTERS.items()
    ]
    for row, (name, style, images) in enumerate(rows):
        middle = row * step + size // 2
        pen.text((12, middle - 26), name, "black", heading)
        for line, words in enumerate(_wrapped(style)):
            pen.text((12, middle + 4 + 18 * line), words, "dimgrey", small)
        for column, image in enumerate(images):
            tile = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
            sheet.paste(tile, (_LABEL_WIDTH + column * step, row * step))
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
    return path


def _wrapped(text: str, width: int = 28) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
