"""Paint a photograph, a video, or a folder of them, in the manner of a prompt or a style image; or draw from words."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.options import add_model_options, assignment

if TYPE_CHECKING:  # `impasto stylize --help` must not cost the seconds of `import torch`
    from lightning_modules.controls import Control

STYLE_SIDE = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto stylize`."""
    add_model_options(parser)
    parser.add_argument("--content", type=Path, help="a photograph, a video, or a folder of them")
    parser.add_argument("--style", type=Path, help="a painting to follow")
    parser.add_argument(
        "--prompt",
        help="a style in words, for example a painter's name; with LEAST, styles and where they go; with a method that "
        "draws from words, what to draw",
    )
    region = parser.add_mutually_exclusive_group()
    region.add_argument(
        "--mask",
        type=Path,
        help="paint only where this picture is bright (or opaque); or a folder with a mask for each",
    )
    region.add_argument(
        "--box", metavar="X0,Y0,X1,Y1", help="paint only what is there: pixels, or shares such as 0.1,0.2,0.6,1.0"
    )
    _add_grounding(parser)
    _add_control(parser, "--alpha", "alpha", metavar="X", help="strength: 0 none, 1 as trained, more exaggerates")
    parser.add_argument(
        "--set", dest="controls", metavar="CONTROL=VALUE", type=assignment, action="append", default=[],
        help="an inference control of the method; --checkpoint RUN --help lists them, and each is an option too",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="file to write, or folder (made where it is missing)")
    parser.add_argument("--seed", type=int, default=0, help="seed of a method that draws random numbers (default: 0)")
    _add_drawing(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    _add_sizes(parser)
    parser.add_argument(
        "--batch", type=int, default=4, metavar="N", help="frames of a video, or drawings, made at once (default: 4)"
    )
    parser.add_argument(
        "--weights", choices=("auto", "pretrained", "hed", "embedded", "random"), default="auto",
        help="where the network that measures the steadiness of a video comes from (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--heatmap", type=Path, metavar="FILE",
        help="of one video, also write how much adjacent frames differ, as a picture (.png) or a video (.mp4)",
    )  # fmt: skip


def _add_grounding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--point", metavar="X,Y", action="append", default=[], help="paint what this point lies on; may be repeated"
    )
    parser.add_argument(
        "--region", metavar="PLACE=STYLE", type=_placed, action="append", default=[],
        help="instead of --prompt, one style for one place: words, a box, a point or a mask; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--grounder", default="auto", metavar="NAME",
        help="who finds the regions: auto, mask, box, sam, grabcut, dinov2s_imgfocus, feathered, llava, "
        "grounding-dino, clipseg, sam3, or a model's id or folder (default: auto)",
    )  # fmt: skip
    parser.add_argument("--sam", metavar="FILE", help="SAM's weights: a .pth file, or a model's id or folder")
    parser.add_argument("--download", action="store_true", help="fetch a grounder's weights where they are missing")
    parser.add_argument(
        "--query", choices=("where", "paper"), default="where", help="how LLaVA is asked: paper, as in LEAST"
    )
    parser.add_argument(
        "--frame", choices=("image", "padded_square", "pixels", "0-1000", "auto"),
        help="what the coordinates of LLaVA's replies count (default: as the model was trained)",
    )  # fmt: skip


def _add_drawing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=int, default=1, metavar="N",
        help="of a method that draws from words: pictures, each of the next seed (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--strength", type=float, metavar="X",
        help="of such a method: how much of the content is redrawn, 0 nothing, 1 all (default: 0.6)",
    )  # fmt: skip


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", type=_size, metavar="N",
        help="paint at N pixels of the content's shorter side; without a content, WIDTHxHEIGHT or the side of a square",
    )  # fmt: skip
    parser.add_argument("--max-side", type=int, metavar="N", help="shrink pictures whose longer side exceeds N pixels")
    parser.add_argument(
        "--style-side", type=int, default=STYLE_SIDE, metavar="N",
        help=f"shrink a style picture whose longer side exceeds N pixels (default: {STYLE_SIDE}); 0 never does",
    )  # fmt: skip
    parser.add_argument(
        "--tile", type=int, metavar="N",
        help="paint large pictures in tiles of N pixels, 0: whole (default: by the memory that is free)",
    )  # fmt: skip


def add_method_arguments(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Declare an option for every control of the method that the command line names; `--help` lists them.

    The method is looked up only where somebody asks for help, or for an option that is none of the command's own.
    """
    words = [word for word in arguments if word not in {"-h", "--help"}]
    named = _model_arguments().parse_known_args(words)[0]
    if not (named.checkpoint or named.method or named.config):
        return
    helping = len(words) < len(arguments)
    if not helping and not parser.parse_known_args(words)[1]:
        return
    owner, controls = _controls_of(named)
    for control in controls:
        if control.option not in parser._option_string_actions:  # the command's own come first; --set reaches the rest
            truth = {"nargs": "?", "const": (control.name, "true")} if isinstance(control.default, bool) else {}
            _add_control(parser, control.option, control.name, help=argparse.SUPPRESS, **truth)
    if helping:
        lines = [f"  {control.describe()}" for control in controls]
        title = f"controls of {owner}, also as --set NAME=VALUE, and as model.init_args.controls in YAML:"
        parser.epilog = "\n".join([title, *lines] if lines else [f"{owner} has no controls."])


def _model_arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--method")
    parser.add_argument("--config", type=Path, action="append")
    parser.add_argument("--profile", default="tiny")
    return parser


def _controls_of(named: argparse.Namespace) -> tuple[str, tuple[Control, ...]]:
    """Return the name of a method, and its controls with the defaults that it was configured with."""
    from experiments.painting.inference import profile_of, recipe_of
    from lightning_modules.checkpoints import class_of

    configs = named.config or ([] if named.method is None else [profile_of(named.method, named.profile)])
    recipe = recipe_of(named.checkpoint, configs)
    found = class_of(recipe)
    offers = getattr(found, "offers", lambda _: ())
    return found.__name__, offers((recipe.get("init_args") or {}).get("controls"))


def _add_control(parser: argparse.ArgumentParser, option: str, name: str, **settings: Any) -> None:
    parser.add_argument(option, dest="controls", type=partial(_pair, name), action="append", default=[], **settings)


def _pair(name: str, value: str) -> tuple[str, str]:
    return name, value


def _size(text: str) -> int | tuple[int, int]:
    """Read one number, or WIDTHxHEIGHT as height and width."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(re.fullmatch(r"\s*-?\d+\s*", number) for number in numbers):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of pixels, nor WIDTHxHEIGHT")
    return int(numbers[0]) if len(numbers) == 1 else (int(numbers[1]), int(numbers[0]))


def _placed(text: str) -> tuple[str, str]:
    place, equals, style = (part.strip() for part in text.partition("="))
    if not (equals and place and style):
        raise argparse.ArgumentTypeError(f"'{text}' is not PLACE=STYLE, for example sky=watercolor")
    return place, style


def main(args: argparse.Namespace) -> int:
    """Stylize, and print the path of the result last.

    Raises:
        ImpastoError: If the command cannot do what it was asked to.
    """
    from experiments.painting.checks import check, check_drawing, check_restyling
    from experiments.painting.inference import find_checkpoint
    from lightning_modules.checkpoints import checkpoint_class
    from lightning_modules.generation import GenerativeModule

    check(args)
    kind = None if args.checkpoint is None else checkpoint_class(find_checkpoint(args.checkpoint))
    if kind is not None and issubclass(kind, GenerativeModule):
        check_drawing(args, kind.__name__)
        return _draw(args)
    check_restyling(args, args.method or "This method" if kind is None else kind.__name__)
    return _restyle(args)


def _draw(args: argparse.Namespace) -> int:
    """Draw from words, from a content or without one."""
    from experiments.painting.drawer import Drawer, targets
    from experiments.painting.painter import paint_folder
    from experiments.painting.plan import place_of, plan
    from experiments.progress import file_progress
    from lightning_modules.paths import refuse_overwriting

    seeds = range(args.seed, args.seed + args.count)
    jobs = [] if args.content is None else plan(args.content, args.out)
    places = [target for _, target in jobs] or [place_of(args.prompt, args.out)]
    written = [path for place in places for path in targets(place, seeds)]
    refuse_overwriting(written, [*(source for source, _ in jobs), *_read(args)])
    drawer = Drawer(args)
    with file_progress() as progress:
        if args.content is not None and args.content.is_dir():
            done = paint_folder(jobs, drawer, progress)
            written = [args.out]
        else:
            done = drawer.paint(args.content, places[0], progress)
    if not done:
        return 1
    print(*written, sep="\n")
    return 0


def _restyle(args: argparse.Namespace) -> int:
    """Paint contents."""
    from experiments.painting.painter import Painter, paint_folder
    from experiments.painting.plan import check_targets, is_video, plan
    from experiments.progress import file_progress

    jobs = plan(args.content, args.out)
    painter = Painter(args, any(is_video(source) for source, _ in jobs))
    beside = [path for _, target in jobs for path in painter.beside(target)]
    check_targets(jobs, args.heatmap, beside, _read(args))
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
