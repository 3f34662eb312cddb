"""The grounder's picture: what was found where, drawn over the photograph."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lightning_modules.grounding.regions import Region, at_size, to_bytes, working_copy

COLOURS = ((230, 60, 50), (40, 130, 240), (50, 180, 80), (240, 170, 20), (160, 80, 200), (20, 180, 190))
LONGEST = 1280  # pixels
TINT = 0.45


def overlay_beside(target: Path) -> Path:
    """Return where the grounder's picture of a result goes.

    Examples:
        >>> overlay_beside(Path("out/a.png")).name
        'a.grounding.png'
    """
    return target.with_name(f"{target.stem}.grounding.png")


def draw_regions(content: Tensor, regions: Sequence[tuple[str, Region]]) -> Tensor:
    """Draw masks and boxes over a picture, with a line about each.

    Args:
        content: ``(3, H, W)``, RGB in [0, 1].
        regions: A name for each region.

    Returns:
        ``(3, h, w)``, RGB in [0, 1], at most `LONGEST` pixels.
    """
    small, scale = working_copy(content, LONGEST)
    pixels = torch.from_numpy(to_bytes(small)).float()
    for number, (_, region) in enumerate(regions):
        colour = torch.tensor(COLOURS[number % len(COLOURS)], dtype=torch.float32)
        mask = at_size(region.mask, (small.shape[-2], small.shape[-1]))[0, ..., None]
        pixels = pixels * (1 - TINT * mask) + colour * (TINT * mask)
    image = Image.fromarray(pixels.add(0.5).byte().numpy())
    _draw_boxes(image, regions, scale)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _draw_boxes(image: Image.Image, regions: Sequence[tuple[str, Region]], scale: float) -> None:
    draw = ImageDraw.Draw(image)
    height = max(10, min(image.size) // 32)
    font = ImageFont.load_default(height)
    for number, (name, region) in enumerate(regions):
        colour = COLOURS[number % len(COLOURS)]
        x0, y0, x1, y1 = (side * scale for side in region.box)
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=max(1, height // 8))
        text = f"{name} ({region.source})"
        place = (x0 + 2, min(y0 + 2, image.height - height - 4))
        draw.rectangle(draw.textbbox(place, text, font=font), fill=colour)
        draw.text(place, text, fill="white", font=font)
