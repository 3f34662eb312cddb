"""One method and one style over many files, pictures and videos alike."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from rich.progress import Progress

from datamodules.images import read_image, write_image
from datamodules.masks import parse_box
from experiments.painting.inference import TooLargeError, fit_within, load_model, load_untrained, paint, profile_of
from experiments.painting.plan import Job, is_video
from experiments.painting.regions import Region
from experiments.painting.sizing import Sizing
from experiments.painting.video import VideoPainter
from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import resolve_controls
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import shown


class Painter:
    """Paints one file after the other, pictures and videos alike, with one method and one style.

    Args:
        args: The options of `impasto stylize`.
        with_videos: Whether there are videos among the contents.
    """

    def __init__(self, args: argparse.Namespace, with_videos: bool) -> None:
        self._args = args
        self._region = Region(args.mask, None if args.box is None else parse_box(args.box))
        self._sizing = Sizing(args.size, args.max_side)
        self._model = _load(args)
        name = type(self._model).__name__
        if args.tile and not self._model.tiles:
            raise ImpastoError(f"{name} paints every picture whole: leave --tile away.")
        self._model.tile = args.tile
        largest = min((side for side in (args.max_side, args.style_side) if side), default=None)
        self._how: dict[str, Any] = {
            "style": None if args.style is None else fit_within(read_image(args.style), largest),
            "prompt": args.prompt,
            "controls": resolve_controls(self._model.offered, dict(args.controls), name),
            "seed": args.seed,
        }
        self.videos = self._video_painter() if with_videos else None

    def _video_painter(self) -> VideoPainter:
        args = self._args
        return VideoPainter(self._model, batch=args.batch, sizing=self._sizing, weights=args.weights, **self._how)

    def paint(self, source: Path, target: Path, progress: Progress) -> int:
        """Paint one file, and return the number of files painted: 1."""
        if self.videos is not None and is_video(source):
            self.videos.paint(source, target, progress, heatmap=self._args.heatmap, region=self._region)
        else:
            self._paint_picture(source, target)
        return 1

    def _paint_picture(self, source: Path, target: Path) -> None:
        content = self._sizing.fit(read_image(source))
        mask = self._region.of(source, (content.shape[-2], content.shape[-1]))
        write_image(paint(self._model, content, mask=mask, **self._how), target)


def _load(args: argparse.Namespace) -> StyleTransferModule:
    if args.checkpoint is not None:
        return load_model(args.checkpoint, args.device)
    return load_untrained(args.config or [profile_of(args.method, args.profile)], args.device)


def paint_folder(jobs: list[Job], painter: Painter, progress: Progress) -> int:
    """Paint what can be painted; report the rest at the end, whatever went wrong with it.

    Returns:
        The number of files painted.
    """
    done = 0
    failures: dict[str, None] = {}  # what is wrong with all files is said once
    for source, target in progress.track(jobs, description="painting"):
        try:
            done += painter.paint(source, target, progress)
        except Exception as error:
            own = isinstance(error, ImpastoError) and not isinstance(error, TooLargeError)
            if os.environ.get("IMPASTO_TRACEBACK") == "1" and not own:
                raise
            failures[str(error) if own else f"{source}: {_first_line(error)}"] = None
    if failures:
        print(f"Skipped {len(jobs) - done} of {len(jobs)} files:", *map(shown, failures), sep="\n  ", file=sys.stderr)
    return done


def _first_line(error: Exception) -> str:
    text = str(error) if isinstance(error, ImpastoError) else f"{type(error).__name__}: {error}"
    return text.splitlines()[0]
