"""Paint ProceduralArt, which needs no download."""

from __future__ import annotations

import argparse
from pathlib import Path

_SHEET_COLUMNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare procedural`."""
    parser.add_argument("--out", type=Path, default=Path("data/procedural"), help="folder (default: data/procedural)")
    parser.add_argument("--size", type=int, default=256, help="height and width in pixels (default: 256)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every picture (default: 0)")
    for split, count in (("train", 96), ("val", 12), ("test", 12)):
        parser.add_argument(
            f"--{split}", type=int, default=count, metavar="N",
            help=f"contents of the {split} split, each painted by every artist (default: {count})",
        )  # fmt: skip
    parser.add_argument("--workers", type=int, help="processes (default: all cores)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument(
        "--contact-sheet", type=Path, metavar="PNG", help="also draw five contents as every artist paints them"
    )


def main(args: argparse.Namespace) -> Path:
    """Paint the data set and return its folder.

    Raises:
        ImpastoError: If a setting is out of range, or what is there is not ours to overwrite.
    """
    from datamodules.procedural import generate
    from lightning_modules.errors import ImpastoError

    out = Path(args.out)
    if args.contact_sheet is not None and args.contact_sheet.resolve().is_relative_to(out.resolve()):
        raise ImpastoError(f"The contact sheet {args.contact_sheet} would lie in the data set: choose another place.")
    generate(
        out, size=args.size, contents_per_split={"train": args.train, "val": args.val, "test": args.test},
        seed=args.seed, workers=args.workers, quiet=args.quiet,
    )  # fmt: skip
    if args.contact_sheet is not None:
        from datamodules.procedural.sheet import write_contact_sheet

        print(write_contact_sheet(args.contact_sheet, size=args.size, seed=args.seed, columns=_SHEET_COLUMNS))
    return out
