"""The pictures of a protocol as methods and metrics get them: cut and sized once, and kept beside the results."""

from pathlib import Path

import torch
from torch import Tensor

from datamodules.images import read_pixels, write_image
from datamodules.masks import box_mask, fit_mask, parse_box, read_mask
from datamodules.pictures import Pixels, centre_crop, stretched, to_short_side
from experiments.evaluation.protocol import Protocol, Task
from experiments.evaluation.recipe import Recipe
from experiments.scoring.pairs import Pair

FOLDER = "inputs"
PAINTED = "pictures"


def fitted(pixels: Pixels, recipe: Recipe) -> Pixels:
    """Bring a picture to the size that a recipe asks for.

    Args:
        pixels: ``(H, W, 3)``, uint8.
        recipe: Its ``resize`` and ``crop``.

    Returns:
        ``(h, w, 3)``, uint8.
    """
    if recipe.crop == "centre":
        return centre_crop(pixels, recipe.resize or min(pixels.shape[:2]))
    if recipe.resize is None:
        return pixels
    if recipe.crop == "stretch":
        return stretched(pixels, recipe.resize, recipe.resize)
    return to_short_side(pixels, recipe.resize)


class Inputs:
    """Finds or makes the files of every task under the folder of an evaluation.

    Args:
        protocol: The protocol.
        out: The evaluation's folder.
    """

    def __init__(self, protocol: Protocol, out: Path) -> None:
        self._protocol = protocol
        self._out = out

    def of(self, task: Task) -> Pair:
        """Return the files of a task; that of its painting may not be there yet.

        Raises:
            ImpastoError: If a picture is missing or cannot be read, or a region has no part of it.
        """
        keys = task.pictures()
        kinds = {kind: self._picture(keys[kind]) for kind in ("content", "style", "truth") if kind in keys}
        return Pair(
            self.painting(task),
            **kinds,
            artist=task.artist,
            prompt=task.prompt,
            clip=task.clip,
            frame=task.frame,
            mask=self._mask(task),
        )

    def painting(self, task: Task) -> Path:
        """Return the file of a task's painting."""
        return self._out / PAINTED / f"{task.id}.png"

    def _picture(self, key: str) -> Path:
        path = self._out / FOLDER / f"{self._protocol.pictures[key].sha256[:24]}.png"
        if not path.is_file():
            pixels = fitted(read_pixels(self._protocol.path(key)), self._protocol.recipe)
            write_image(_as_image(pixels), path)
        return path

    def _mask(self, task: Task) -> Path | None:
        """Return where to paint, cut as the content is: a mask covers the whole content, whatever size it has."""
        if task.content is None or (task.mask is None and task.box is None):
            return None
        path = self._out / FOLDER / f"mask-{task.id}.png"
        if not path.is_file():
            height, width = read_pixels(self._protocol.path(task.content)).shape[:2]
            if task.mask is not None:
                mask = fit_mask(read_mask(self._protocol.path(task.mask)), height, width)
            else:
                mask = box_mask(parse_box(str(task.box)), height, width)
            write_image(_as_image(fitted(_as_pixels(mask), self._protocol.recipe)), path)
        return path


def _as_image(pixels: Pixels) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1).float().div_(255)


def _as_pixels(mask: Tensor) -> Pixels:
    pixels: Pixels = mask.mul(255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy().copy()
    return pixels
