"""Write a data set to disk: `procedural` paints ProceduralArt, `nsync` draws negatives for a folder of pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

_SHEET_COLUMNS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare`."""
    datasets = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    _add_procedural(datasets.add_parser("procedural", help="paint ProceduralArt, which needs no download"))
    _add_nsync(datasets.add_parser("nsync", help="draw a negative for every picture of a style, by its caption"))


def _add_procedural(parser: argparse.ArgumentParser) -> None:
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


def _add_nsync(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures of one style")
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        "--category", default="painting", metavar="WORD",
        help="what the pictures are: painting, illustration, animation, or another word (default: painting)",
    )  # fmt: skip
    words.add_argument(
        "--negative-prompts", nargs="+", metavar="WORDS",
        help="several such words instead, of which every negative draws one",
    )  # fmt: skip
    parser.add_argument(
        "--captioner", metavar="MODEL",
        help="describe pictures without a caption: an image-to-text model of transformers, by its id or folder",
    )  # fmt: skip
    parser.add_argument("--captions-only", action="store_true", help="draw nothing: for held-out pictures")
    parser.add_argument("--out", type=Path, help="folder of the negatives (default: IMAGES-negatives)")
    parser.add_argument(
        "--weights", choices=("auto", "pretrained", "embedded", "random"), default="auto",
        help="of the frozen pipeline (default: auto)",
    )  # fmt: skip
    parser.add_argument(
        "--model", default="stable-diffusion-v1-5/stable-diffusion-v1-5", metavar="ID",
        help="the frozen pipeline, that will be trained: an id or a folder (default: Stable Diffusion 1.5)",
    )  # fmt: skip
    parser.add_argument("--size", type=int, metavar="N", help="side in pixels to draw at (default: the pipeline's own)")
    parser.add_argument(
        "--match-resolution", type=int, default=256, metavar="N",
        help="side in pixels that the pictures have, and to which larger negatives are shrunk (default: 256)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=50, help="of the sampler (default: 50)")
    parser.add_argument("--guidance", type=float, default=7.5, help="towards the prompt (default: 7.5)")
    parser.add_argument("--sampler", choices=("pndm", "ddim"), default="pndm", help="default: pndm")
    parser.add_argument("--seed", type=int, default=0, help="seed of every picture (default: 0)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pictures drawn at once (default: 8)")
    parser.add_argument("--devices", type=int, metavar="N", help="processes, one a GPU (default: all GPUs)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def main(args: argparse.Namespace) -> None:
    """Write the data set and print the path it lies at, last of all.

    Raises:
        ImpastoError: If a setting is out of range, or what is there is not ours to overwrite.
    """
    if args.dataset == "nsync":
        from experiments.negatives.preparing import prepare

        print(prepare(args))
    else:
        print(_paint_procedural(args))


def _paint_procedural(args: argparse.Namespace) -> Path:
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
