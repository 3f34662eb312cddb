"""The contact sheet of a negative set: some pictures, what they show, and the negatives beside them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from datamodules.captions import Captioned
from datamodules.images import read_pixels
from datamodules.samples import spread
from datamodules.triplet_batches import squash
from experiments.negatives.drawer import file_of
from lightning_modules.files import write_atomically

_SIDE, _GAP, _WORDS = 192, 6, 320


def write_sheet(path: Path, pictures: Sequence[Captioned], folder: Path, rows: int = 8) -> None:
    """Draw a few positives, spread over the set, with their negatives and captions.

    Args:
        path: PNG file to write.
        pictures: The positives.
        folder: Of the negatives.
        rows: How many pairs.
    """
    chosen = spread(pictures, rows)
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (2 * step + _WORDS, step * len(chosen)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, picture in enumerate(chosen):
        for column, file in enumerate((picture.path, file_of(folder, picture.key))):
            tile = Image.fromarray(squash(read_pixels(file), _SIDE))
            sheet.paste(tile, (column * step, row * step))
        words = "\n".join(textwrap.wrap(picture.caption, 44)[:9])
        pen.multiline_text((2 * step + _GAP, row * step + _GAP), words, "black", font, spacing=5)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
