"""Paint a photograph, a video, or a folder of them, in the manner of a text prompt or a style image."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `impasto stylize --help` must not cost the seconds of `import torch`
    from lightning_modules.base import StyleTransferModule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto stylize`."""
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--checkpoint", type=Path, help="a .ckpt file, the folder of a run, or embedded:NAME")
    model.add_argument("--method", help="a method that needs no training, by its name")
    model.add_argument(
        "--config", type=Path, action="append", help="the same by YAML files, as `impasto fit` takes them"
    )
    parser.add_argument("--profile", default="tiny", help="of --method: its YAML file (default: tiny)")
    parser.add_argument("--content", type=Path, required=True, help="a photograph, a video, or a folder of them")
    parser.add_argument("--style", type=Path, help="a painting to follow")
    parser.add_argument("--prompt", help="a style in words, for example a painter's name")
    parser.add_argument("--alpha", type=float, default=1.0, help="strength: 0 none, 1 as trained, more exaggerates")
    region = parser.add_mutually_exclusive_group()
    region.add_argument(
        "--mask",
        type=Path,
        help="paint only where this picture is bright (or opaque); or a folder with a mask for each",
    )
    region.add_argument(
        "--box", metavar="X0,Y0,X1,Y1", help="paint only there: pixels, or shares such as 0.1,0.2,0.6,1.0"
    )
    parser.add_argument(
        "--set", dest="controls", metavar="CONTROL=VALUE", type=_assignment, action="append", default=[],
        help="an inference control of the method; --checkpoint RUN --help lists them",
    )  # fmt: skip
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


def epilog(arguments: Sequence[str]) -> str:
    """Return what `--help` adds: the inference controls of the method that the command line names."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--method")
    parser.add_argument("--profile", default="tiny")
    known, _ = parser.parse_known_args([word for word in arguments if word not in {"-h", "--help"}])
    if known.checkpoint is None and known.method is None:
        return ""
    found = _method_of(known)
    lines = [f"  {control.describe()}" for control in getattr(found, "controls", ())]
    title = f"controls of {found.__name__}, for --set:" if lines else f"{found.__name__} has no controls for --set."
    return "\n".join([title, *lines])


def _method_of(named: argparse.Namespace) -> type[StyleTransferModule]:
    import yaml

    from experiments.painting.inference import find_checkpoint, profile_of
    from lightning_modules.checkpoints import checkpoint_class, class_of

    if named.checkpoint is not None:
        return checkpoint_class(find_checkpoint(named.checkpoint))
    return class_of(yaml.safe_load(profile_of(named.method, named.profile).read_text(encoding="utf-8"))["model"])


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"'{text}' is not CONTROL=VALUE")
    return name.strip(), value.strip()


def main(args: argparse.Namespace) -> int:
    """Stylize, and print the path of the result last.

    Raises:
        ImpastoError: If the command cannot do what it was asked to.
    """
    from experiments.painting.painter import Painter, paint_folder
    from experiments.painting.plan import check_targets, is_video, plan
    from experiments.progress import file_progress

    _check(args)
    jobs = plan(args.content, args.out)
    check_targets(jobs, args.heatmap, _read(args))
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


def _read(args: argparse.Namespace) -> list[Path]:
    """List what the command reads beside the contents."""
    from experiments.painting.inference import find_checkpoint

    model = args.config or ([] if args.checkpoint is None else [find_checkpoint(args.checkpoint)])
    given = [path for path in (args.style, args.mask) if path is not None]
    return [*model, *given, *(path for folder in given if folder.is_dir() for path in folder.iterdir())]


def _check(args: argparse.Namespace) -> None:
    from lightning_modules.errors import ImpastoError

    if args.style is None and args.prompt is None:
        raise ImpastoError("Say which style: give --prompt TEXT or --style IMAGE.")
    if args.prompt is not None and not args.prompt.strip():
        raise ImpastoError("The prompt is empty: name a painter or a technique.")
    if not math.isfinite(args.alpha):
        raise ImpastoError("--alpha must be a finite number; 1 is the trained strength.")
    if args.max_side is not None and args.max_side < 1:
        raise ImpastoError("--max-side must be at least 1 pixel.")
    if args.batch < 1:
        raise ImpastoError("--batch must be at least 1 frame.")
    for name in ("content", "style", "mask"):
        given = getattr(args, name)
        if given is not None and not given.exists():
            raise ImpastoError(f"There is no {name} at {given}.")
