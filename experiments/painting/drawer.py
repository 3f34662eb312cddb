"""One method that draws from words over many files: pictures of a prompt, or contents redrawn."""

import argparse
from pathlib import Path
from typing import Any

from rich.progress import Progress

from datamodules.images import read_image, write_image
from experiments.painting.inference import REDRAWN, draw, load_drawing_model
from experiments.painting.plan import is_video, numbered
from experiments.painting.sizing import Sizing
from lightning_modules.controls import resolve_controls
from lightning_modules.errors import ImpastoError


class Drawer:
    """Draws one file after the other, with one method and one prompt.

    Args:
        args: The options of `impasto stylize`.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._model = load_drawing_model(args.checkpoint, args.device)
        self._args = args
        self._seeds = range(args.seed, args.seed + args.count)
        self._settings: dict[str, Any] = {
            "strength": REDRAWN if args.strength is None else args.strength,
            "controls": resolve_controls(self._model.offered, dict(args.controls), type(self._model).__name__),
        }

    def paint(self, source: Path | None, target: Path, progress: Progress) -> int:
        """Draw the pictures of one content, or of none.

        Args:
            source: The content's file.
            target: Where the picture goes; several are numbered by their seeds.
            progress: Gets a bar where there are several.

        Returns:
            1, for the content.

        Raises:
            ImpastoError: If the content cannot be read, or something does not fit the method.
        """
        settings = self._settings | self._start(source)
        places = targets(target, self._seeds)
        task = progress.add_task("drawing", total=len(places), visible=len(places) > 1)
        try:
            for first in range(0, len(places), self._args.batch):
                some = slice(first, first + self._args.batch)
                pictures = draw(self._model, self._args.prompt, seeds=self._seeds[some], **settings)
                for picture, place in zip(pictures, places[some], strict=True):
                    write_image(picture, place)
                    progress.advance(task)
        finally:
            progress.remove_task(task)
        return 1

    def _start(self, source: Path | None) -> dict[str, Any]:
        """Return the content and the size of the pictures."""
        size = self._args.size
        if source is None:
            return {"size": (size, size) if isinstance(size, int) else size}
        if is_video(source):
            raise ImpastoError(f"{source} is a video, and {type(self._model).__name__} would draw every frame anew.")
        content = read_image(source)
        sizing = Sizing(size, self._args.max_side)
        return {"content": content, "size": sizing.of((content.shape[-2], content.shape[-1]))}


def targets(target: Path, seeds: range) -> list[Path]:
    """Return the files of all pictures: of one, ``target`` itself."""
    return [target] if len(seeds) == 1 else [numbered(target, seed) for seed in seeds]
