"""Paint a photograph, or a folder of them, in the manner of a text prompt or a style image."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `impasto stylize --help` must not cost the seconds of `import torch`
    from torch import Tensor

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
WRITABLE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".webp"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto stylize`."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="a .ckpt file, or the folder of a run")
    parser.add_argument("--content", type=Path, required=True, help="a photograph, or a folder of them")
    parser.add_argument("--style", type=Path, help="a painting to follow")
    parser.add_argument("--prompt", help="a style in words, for example a painter's name")
    parser.add_argument("--alpha", type=float, default=1.0, help="strength: 0 none, 1 as trained, more exaggerates")
    parser.add_argument("--out", type=Path, required=True, help="file to write, or folder (made where it is missing)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a method that draws random numbers (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--max-side", type=int, metavar="N", help="shrink pictures whose longer side exceeds N pixels")


def main(args: argparse.Namespace) -> int:
    """Stylize, and print the path of the result last.

    Raises:
        ImpastoError: If the command cannot do what it was asked to.
    """
    _check(args)
    jobs = _plan(args.content, args.out)
    painter = _painter(args)
    done = _run_folder(jobs, painter) if args.content.is_dir() else _run_one(*jobs[0], painter)
    if not done:
        return 1
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
    if args.content.suffix.lower() in VIDEO_SUFFIXES:
        raise ImpastoError(f"{args.content} is a video: `impasto stylize` paints pictures and folders of pictures.")
    if not args.content.exists():
        raise ImpastoError(f"There is no content at {args.content}.")


def _plan(content: Path, out: Path) -> list[tuple[Path, Path]]:
    """Pair every content with the file that its painting goes to."""
    from datamodules.images import list_images
    from lightning_modules.errors import ImpastoError

    if content.is_dir():
        if out.suffix.lower() in WRITABLE_SUFFIXES or out.is_file():
            raise ImpastoError(f"The content {content} is a folder, so --out must be one too, not {out}.")
        # An --out inside the content's folder holds what an earlier call painted.
        inside = out.resolve() != content.resolve() and out.resolve().is_relative_to(content.resolve())
        paths = [p for p in list_images(content) if not (inside and p.resolve().is_relative_to(out.resolve()))]
        jobs = [(path, _target(out / path.relative_to(content))) for path in paths]
    elif out.is_dir() or (not out.suffix and not out.is_file()):
        jobs = [(content, _target(out / content.name))]
    elif out.suffix.lower() in WRITABLE_SUFFIXES:
        jobs = [(content, out)]
    else:
        raise ImpastoError(f"{out} cannot be written: its name must end in .png, .jpg or .webp, or be a folder.")
    if any(source.resolve() == target.resolve() for source, target in jobs):
        raise ImpastoError(f"--out {out} would overwrite the content; choose another place.")
    return jobs


def _target(path: Path) -> Path:
    return path if path.suffix.lower() in WRITABLE_SUFFIXES else path.with_name(path.name + ".png")


def _painter(args: argparse.Namespace) -> Callable[[Path], Tensor]:
    from datamodules.images import read_image
    from experiments.inference import fit_within, load_model, paint

    style = None if args.style is None else fit_within(read_image(args.style), args.max_side)
    model = load_model(args.checkpoint, args.device)

    def painter(path: Path) -> Tensor:
        content = fit_within(read_image(path), args.max_side)
        return paint(model, content, style=style, prompt=args.prompt, alpha=args.alpha, seed=args.seed)

    return painter


def _run_one(source: Path, target: Path, painter: Callable[[Path], Tensor]) -> int:
    from datamodules.images import write_image

    write_image(painter(source), target)
    return 1


def _run_folder(jobs: list[tuple[Path, Path]], painter: Callable[[Path], Tensor]) -> int:
    """Paint what can be read; report the rest."""
    from datamodules.images import ImageReadError

    done, failures = 0, []
    for source, target in _with_progress(jobs):
        try:
            done += _run_one(source, target, painter)
        except ImageReadError as error:
            failures.append(str(error))
    if failures:
        print(f"Skipped {len(failures)} of {len(jobs)} files:", *failures, sep="\n  ", file=sys.stderr)
    return done


def _with_progress(jobs: list[tuple[Path, Path]]) -> Iterable[tuple[Path, Path]]:
    from rich.console import Console
    from rich.progress import track

    return track(jobs, "painting", console=Console(stderr=True), disable=not sys.stderr.isatty())
