"""Paint a photograph, a video, or a folder of them, in the manner of a text prompt or a style image."""

from __future__ import annotations

import argparse
import math
from pathlib import Path


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
    from experiments.painting.painter import Painter, paint_folder
    from experiments.painting.plan import check_heatmap, is_video, plan
    from experiments.progress import file_progress

    _check(args)
    jobs = plan(args.content, args.out)
    check_heatmap(args.heatmap, args.content, jobs)
    painter = Painter(args, any(is_video(source) for source, _ in jobs))
    with file_progress() as progress:
        done = paint_folder(jobs, painter, progress) if args.content.is_dir() else painter.paint(*jobs[0], progress)
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
