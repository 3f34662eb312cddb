"""A frozen pipeline on one device, which draws negatives and writes them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from experiments.negatives.recipe import Drawing, Recipe
from lightning_modules.files import write_atomically
from lightning_modules.weights.diffusion import pipeline_of

if TYPE_CHECKING:
    from lightning_modules.weights.diffusion import LatentDiffusion


class Drawer:
    """Draws negatives, in half precision on a GPU.

    A picture's noise comes from a generator of its own on the CPU, so that neither the batch nor the device changes
    what it shows; in its last bits it may depend on either, as floats do.

    Args:
        parts: The pipeline.
        recipe: Of the set.
        device: Such as ``"cuda:1"``.
    """

    def __init__(self, parts: LatentDiffusion, recipe: Recipe, device: str) -> None:
        dtype = torch.float16 if device.startswith("cuda") else torch.float32
        self._recipe = recipe
        self._pipeline: Any = pipeline_of(parts, recipe.sampler).to(device, dtype)
        self._pipeline.set_progress_bar_config(disable=True)

    def write(self, group: Sequence[Drawing], folder: Path) -> int:
        """Draw a group and write those of it that are not there yet; return how many those were."""
        missing = {drawing.key for drawing in group if not stands(folder, drawing)}
        pictures = self.draw(group) if missing else []
        # The whole group is drawn again, in which every picture comes out as it did before.
        for drawing, picture in zip(group, pictures, strict=False):
            if drawing.key in missing:
                write_atomically(file_of(folder, drawing.key), encode(picture, drawing))
        return len(missing)

    @torch.no_grad()
    def draw(self, group: Sequence[Drawing]) -> list[Image.Image]:
        """Draw pictures at the recipe's resolution."""
        recipe = self._recipe
        drawn = self._pipeline(
            [drawing.prompt for drawing in group],
            height=recipe.size,
            width=recipe.size,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            generator=[torch.Generator().manual_seed(drawing.seed) for drawing in group],
            output_type="np",
        ).images  # B, H, W, 3
        side = min(recipe.size, recipe.match_resolution)
        pictures = [Image.fromarray((picture * 255).round().astype(np.uint8)) for picture in drawn]
        return [picture.resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]


def file_of(folder: Path, key: str) -> Path:
    """Return a negative's file."""
    return folder / f"{key}.png"


def stands(folder: Path, drawing: Drawing) -> bool:
    """Tell whether a picture is there and was drawn from this prompt and seed: every file carries both."""
    try:
        with Image.open(file_of(folder, drawing.key)) as image:
            return (image.info.get("prompt"), image.info.get("seed")) == (drawing.prompt, str(drawing.seed))
    except OSError:
        return False


def encode(picture: Image.Image, drawing: Drawing) -> bytes:
    """Return a PNG file that says what it was drawn from."""
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("prompt", drawing.prompt)
    notes.add_itxt("seed", str(drawing.seed))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()
