"""What of the options of `impasto stylize` does not fit together, said before anything is loaded."""

import argparse

from lightning_modules.errors import ImpastoError

SMALLEST_TILE = 64
NEEDLESS = ("style", "mask", "box", "point", "region", "tile", "heatmap", "sam", "frame")
"""Options that say what a method of style transfer should do."""


def check(args: argparse.Namespace) -> None:
    """Refuse what fits no method.

    Args:
        args: The options.

    Raises:
        ImpastoError: With the first that does not fit.
    """
    if args.prompt is not None and not args.prompt.strip():
        raise ImpastoError("The prompt is empty: name a painter or a technique.")
    _check_numbers(args)
    for name in ("content", "style", "mask"):
        given = getattr(args, name)
        if given is not None and not given.exists():
            raise ImpastoError(f"There is no {name} at {given}.")


def check_restyling(args: argparse.Namespace, name: str) -> None:
    """Refuse what does not fit a method of style transfer, of that name; see `check`."""
    if args.content is None:
        raise ImpastoError(f"{name} restyles pictures: give --content PICTURE, or a folder of them.")
    drawing = {"--strength": args.strength, "--count": None if args.count == 1 else args.count}
    drawing["a --size of two numbers"] = args.size if isinstance(args.size, tuple) else None
    wrong = next((option for option, value in drawing.items() if value is not None), None)
    if wrong is not None:
        raise ImpastoError(f"{name} restyles pictures and draws none from words: leave {wrong} away.")
    if args.style is None and args.prompt is None and not args.region:
        raise ImpastoError("Say which style: give --prompt TEXT or --style IMAGE.")
    if args.region and not (args.prompt is args.style is args.mask is args.box is None and not args.point):
        raise ImpastoError(
            "--region says both place and style: leave --prompt, --style, --mask, --box and --point away."
        )
    if args.mask is not None and args.point:
        raise ImpastoError("A mask says all: leave --point away.")


def check_drawing(args: argparse.Namespace, name: str) -> None:
    """Refuse what does not fit a method that draws from words, of that name; see `check`."""
    if args.prompt is None:
        raise ImpastoError(f"{name} draws from words: give --prompt TEXT, with a --content or without.")
    needless = next((option for option in NEEDLESS if getattr(args, option) not in (None, [])), None)
    if needless is not None:
        raise ImpastoError(f"{name} draws from words, in a style that it has learnt: leave --{needless} away.")
    if args.count < 1:
        raise ImpastoError("--count must be at least 1 picture.")
    if args.strength is not None and not 0 <= args.strength <= 1:
        raise ImpastoError(f"--strength goes from 0, the content as it is, to 1, nothing of it; not {args.strength:g}.")
    if args.content is not None and isinstance(args.size, tuple):
        raise ImpastoError("With a --content, --size is one number: pixels of the shorter side.")
    needs_content = {"--strength": args.strength, "--max-side": args.max_side}
    lonely = next((option for option, value in needs_content.items() if value is not None), None)
    if args.content is None and lonely is not None:
        raise ImpastoError(f"{lonely} says what happens to a content: give --content PICTURE, or leave it away.")


def _check_numbers(args: argparse.Namespace) -> None:
    sides = args.size if isinstance(args.size, tuple) else (args.size,)
    wrong = {
        "--size must be at least 1 pixel.": args.size is not None and min(sides) < 1,
        "--max-side must be at least 1 pixel.": args.max_side is not None and args.max_side < 1,
        "--style-side must be a number of pixels, or 0 for the style picture as it is.": args.style_side < 0,
        f"--tile must be at least {SMALLEST_TILE} pixels, or 0 for the whole picture.": (
            args.tile is not None and args.tile != 0 and args.tile < SMALLEST_TILE
        ),
        "--batch must be at least 1 picture.": args.batch < 1,
    }
    for sentence, holds in wrong.items():
        if holds:
            raise ImpastoError(sentence)
