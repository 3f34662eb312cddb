"""One method and one style over many files, pictures and videos alike."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Protocol

from rich.progress import Progress
from torch import Tensor

from datamodules.images import read_image, write_image
from datamodules.masks import parse_box
from datamodules.originals import write_over
from experiments.painting.grounding import Localizer, describe, drawn, has_clauses, paint_regions
from experiments.painting.inference import TooLargeError, fit_within, load_model, load_untrained, paint, profile_of
from experiments.painting.overlay import draw_regions, overlay_beside
from experiments.painting.plan import Job, is_video
from experiments.painting.regions import Region
from experiments.painting.sizing import Sizing
from experiments.painting.video import VideoPainter
from experiments.progress import watching
from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import resolve_controls
from lightning_modules.errors import ImpastoError
from lightning_modules.grounding import Where
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
        self._prompt: str | None = args.prompt
        self._sizing = Sizing(args.size, args.max_side)
        self._model = _load(args)
        name = type(self._model).__name__
        if args.tile and not self._model.tiles:
            raise ImpastoError(f"{name} paints every picture whole: leave --tile away.")
        self._model.tile = args.tile
        largest = min((side for side in (args.max_side, args.style_side) if side), default=None)
        self._how: dict[str, Any] = {
            "style": None if args.style is None else fit_within(read_image(args.style), largest),
            "controls": resolve_controls(self._model.offered, dict(args.controls), name),
            "seed": args.seed,
        }
        self._localizer = self._find_localizer()
        self.videos = self._video_painter() if with_videos else None

    def _find_localizer(self) -> Localizer | None:
        args = self._args
        if has_clauses(self._model) and args.style is None:
            return Localizer(args, str(self._model.device), lambda sentence: print(shown(sentence), file=sys.stderr))
        if args.region or args.point:
            option = "--region" if args.region else "--point"
            raise ImpastoError(f"{type(self._model).__name__} takes no region in words: leave {option} away.")
        return None

    def _video_painter(self) -> VideoPainter:
        args = self._args
        prompt = args.prompt if self._localizer is None else _only_style(self._localizer)
        sizes: dict[str, Any] = {"batch": args.batch, "sizing": self._sizing}
        return VideoPainter(self._model, prompt=prompt, weights=args.weights, **sizes, **self._how)

    def beside(self, target: Path) -> list[Path]:
        """Return what may be written beside a result."""
        return [] if self._localizer is None or is_video(target) else [overlay_beside(target)]

    def paint(self, source: Path, target: Path, progress: Progress) -> int:
        """Paint one file, and return the number of files painted: 1."""
        if self.videos is not None and is_video(source):
            self.videos.paint(source, target, progress, heatmap=self._args.heatmap, region=self._region)
        else:
            with watching(self._model, progress, source.name):
                self._paint_picture(source, target)
        return 1

    def _paint_picture(self, source: Path, target: Path) -> None:
        content = self._sizing.fit(read_image(source))
        if self._localizer is not None:
            self._paint_regions(source, content, target, self._localizer)
            return
        mask = self._region.of(source, (content.shape[-2], content.shape[-1]))
        self._write(self._paint(content, self._prompt, mask), mask, source, target)

    def _paint_regions(self, source: Path, content: Tensor, target: Path, localizer: Localizer) -> None:
        found = localizer.find(source, content)
        print(*map(describe, found), sep="\n")
        regions = drawn(found)
        if regions:  # before the hours that painting may take
            write_image(draw_regions(content, regions), overlay_beside(target))
            print(overlay_beside(target))
        painted, mask = paint_regions(content, found, lambda style, mask: self._paint(content, style, mask))
        self._write(painted, mask, source, target)

    def _paint(self, content: Tensor, prompt: str | None, mask: Tensor | None) -> Tensor:
        return paint(self._model, content, prompt=prompt, mask=mask, **self._how)

    def _write(self, painted: Tensor, mask: Tensor | None, source: Path, target: Path) -> None:
        if mask is None:
            write_image(painted, target)
        else:
            write_over(painted, mask, source, target)


def _only_style(localizer: Localizer) -> str:
    """Return the style of a video, whose region is a mask or a box.

    Raises:
        ImpastoError: If the prompt says where.
    """
    task, *more = localizer.tasks
    if more or isinstance(task.place, Where):
        raise ImpastoError("In a video, one region is the same in every frame: give --mask or --box, and one style.")
    return task.style


def _load(args: argparse.Namespace) -> StyleTransferModule:
    if args.checkpoint is not None:
        return load_model(args.checkpoint, args.device)
    return load_untrained(args.config or [profile_of(args.method, args.profile)], args.device)


class PaintsFiles(Protocol):
    """Somebody who paints one file after the other."""

    def paint(self, source: Path, target: Path, progress: Progress) -> int:
        """Paint one file, and return the number of files painted."""


def paint_folder(jobs: list[Job], painter: PaintsFiles, progress: Progress) -> int:
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
