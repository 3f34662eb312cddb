"""Paint a photograph, a video, or a folder of them, in the manner of a text prompt or a style image."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `impasto stylize --help` must not cost the seconds of `import torch`
    from rich.progress import Progress

    from experiments.video import VideoPainter

WRITABLE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto stylize`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a .ckpt file, or the folder of a run")
    parser.add_argument("--content", type=Path, required=True, help="a photograph, a video, or a folder of them")
    parser.add_argument("--style", type=Path, help="a painting to follow")
    parser.add_argument("--prompt", help="a style in words, for example a painter's name")
    parser.add_argument("--alpha", type=float, default=1.0, help="strength: 0 none, 1 as trained, more exaggerates")
    parser.add_argument("--out", type=Path, required=True, help="file to write, or folder (made where it is missing)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a method that draws random numbers (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--max-side", type=int, metavar="N", help="shrink pictures whose longer side exceeds N pixels")
    parser.add_argument(
        "--batch", type=int, default=4, metavar="N", help="frames of a video painted at once (default: 4)"
    )
    parser.add_argument(
        "--weights", choices=("auto", "pretrained", "hed", "embedded", "random"), default="auto",
        help="where the network that measures the steadiness of a video comes from (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--heatmap", type=Path, metavar="FILE",
        help="of one video, also write how much adjacent frames differ, as a picture (.png) or a video (.mp4)",
    )  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Stylize, and print the path of the result last.

    Raises:
        ImpastoError: If the command cannot do what it was asked to.
    """
    _check(args)
    jobs = _plan(args.content, args.out)
    _check_heatmap(args.heatmap, args.content, jobs)
    painter = _Painter(args, any(_is_video(source) for source, _ in jobs))
    with _progress() as progress:
        done = _run_folder(jobs, painter, progress) if args.content.is_dir() else painter.paint(*jobs[0], progress)
    if not done:
        return 1
    if painter.videos is not None:
        print(painter.videos.steadiness.report())
    if args.heatmap is not None:
        print(args.heatmap)
    print(args.out if args.content.is_dir() else jobs[0][1])
    return 0


def _check(args: argparse.Namespace) -> None:
    from lightning_modules.errors import ImpastoError

    if (args.style is None) == (args.prompt is None):
        raise ImpastoError("Say which style: give either --prompt TEXT or --style IMAGE.")
    if args.prompt is not None and not args.prompt.strip():
        raise ImpastoError("The prompt is empty: name a painter or a technique.")
    if not math.isfinite(args.alpha):
        raise ImpastoError("--alpha must be a finite number; 1 is the trained strength.")
    if args.max_side is not None and args.max_side < 1:
        raise ImpastoError("--max-side must be at least 1 pixel.")
    if args.batch < 1:
        raise ImpastoError("--batch must be at least 1 frame.")
    if not args.content.exists():
        raise ImpastoError(f"There is no content at {args.content}.")


def _check_heatmap(heatmap: Path | None, content: Path, jobs: list[tuple[Path, Path]]) -> None:
    from datamodules.video import WRITABLE_VIDEOS
    from lightning_modules.errors import ImpastoError

    if heatmap is None:
        return
    if not _is_video(content):
        raise ImpastoError(f"--heatmap shows how the frames of one video differ, and {content} is none.")
    if heatmap.suffix.lower() not in WRITABLE_SUFFIXES | set(WRITABLE_VIDEOS):
        raise ImpastoError(f"{heatmap} cannot be written: the name of a heat map must end in .png or .mp4.")
    if heatmap.resolve() in (path.resolve() for path in jobs[0]):
        raise ImpastoError(f"--heatmap {heatmap} would overwrite another file of this command; choose another place.")


def _is_video(path: Path) -> bool:
    from datamodules.video import is_video_name

    return is_video_name(path.name) and not path.is_dir()


def _plan(content: Path, out: Path) -> list[tuple[Path, Path]]:
    """Pair every content with the file that its painting goes to."""
    from lightning_modules.errors import ImpastoError

    suffix = out.suffix.lower()
    if content.is_dir():
        if suffix in _writable(content) or out.is_file():
            raise ImpastoError(f"The content {content} is a folder, so --out must be one too, not {out}.")
        # An --out inside the content's folder holds what an earlier call painted.
        inside = out.resolve() != content.resolve() and out.resolve().is_relative_to(content.resolve())
        paths = [p for p in _contents(content) if not (inside and p.resolve().is_relative_to(out.resolve()))]
        jobs = [(path, _target(out / path.relative_to(content))) for path in paths]
    elif out.is_dir() or (not out.suffix and not out.is_file()):
        jobs = [(content, _target(out / content.name))]
    elif suffix in _writable(content):
        jobs = [(content, out)]
    else:
        kinds = ".mp4, .mov, .mkv or .webm" if _is_video(content) else ".png, .jpg or .webp"
        raise ImpastoError(f"{out} cannot be written: its name must end in {kinds}, or be a folder.")
    if any(source.resolve() == target.resolve() for source, target in jobs):
        raise ImpastoError(f"--out {out} would overwrite the content; choose another place.")
    return jobs


def _contents(folder: Path) -> list[Path]:
    """List the pictures and videos under a folder, sorted by path, hidden files left out."""
    from datamodules.images import is_image_name, list_images
    from datamodules.video import is_video_name

    walk = os.walk(folder, followlinks=True)
    names = (Path(parent, name) for parent, _, names in walk for name in names)
    found = sorted(path for path in names if is_image_name(path.name) or is_video_name(path.name))
    return found or list_images(folder)  # which says what should be there


def _writable(content: Path) -> set[str]:
    """Return the suffixes that a content's painting may have."""
    from datamodules.video import WRITABLE_VIDEOS

    videos = set(WRITABLE_VIDEOS)
    if content.is_dir():
        return videos | WRITABLE_SUFFIXES
    return videos if _is_video(content) else set(WRITABLE_SUFFIXES)


def _target(path: Path) -> Path:
    if path.suffix.lower() in _writable(path):
        return path
    return path.with_name(path.name + (".mp4" if _is_video(path) else ".png"))


class _Painter:
    """Paints one file after the other, pictures and videos alike, with one method and one style."""

    def __init__(self, args: argparse.Namespace, with_videos: bool) -> None:
        from datamodules.images import read_image
        from experiments.inference import fit_within, load_model

        self._args = args
        self._style = None if args.style is None else fit_within(read_image(args.style), args.max_side)
        self._model = load_model(args.checkpoint, args.device)
        self._how: dict[str, Any] = {
            "style": self._style,
            "prompt": args.prompt,
            "alpha": args.alpha,
            "seed": args.seed,
        }
        self.videos = self._video_painter() if with_videos else None

    def _video_painter(self) -> VideoPainter:
        from experiments.video import VideoPainter

        args = self._args
        return VideoPainter(self._model, batch=args.batch, max_side=args.max_side, weights=args.weights, **self._how)

    def paint(self, source: Path, target: Path, progress: Progress) -> int:
        if self.videos is not None and _is_video(source):
            self.videos.paint(source, target, progress, heatmap=self._args.heatmap)
        else:
            self._paint_picture(source, target)
        return 1

    def _paint_picture(self, source: Path, target: Path) -> None:
        from datamodules.images import read_image, write_image
        from experiments.inference import fit_within, paint

        content = fit_within(read_image(source), self._args.max_side)
        write_image(paint(self._model, content, **self._how), target)


def _run_folder(jobs: list[tuple[Path, Path]], painter: _Painter, progress: Progress) -> int:
    """Paint what can be read; report the rest."""
    from datamodules.images import ImageReadError
    from datamodules.video_probe import VideoReadError

    done, failures = 0, []
    for source, target in progress.track(jobs, description="painting"):
        try:
            done += painter.paint(source, target, progress)
        except (ImageReadError, VideoReadError) as error:
            failures.append(str(error))
    if failures:
        print(f"Skipped {len(failures)} of {len(jobs)} files:", *failures, sep="\n  ", file=sys.stderr)
    return done


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
