"""Lay out COCO's photographs, from its server, its zip files or a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.public_data.options import add_common

SERVER = "http://images.cocodataset.org"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare coco`."""
    parser.add_argument(
        "--source", default=SERVER, metavar="PATH|URL",
        help="folder with train2017/ or train2017.zip and so on, or a server with zips/train2017.zip and "
        f"annotations/annotations_trainval2017.zip (default: {SERVER})",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("data/coco"), help="folder to make (default: data/coco)")
    parser.add_argument("--year", default="2017", choices=("2014", "2017"), help="default: 2017")
    parser.add_argument(
        "--no-annotations", dest="annotations", action="store_false", help="leave the captions and their licences out"
    )
    add_common(parser)


def main(args: argparse.Namespace) -> Path:
    """Make the data set, unless it is there, and return its folder.

    Raises:
        ImpastoError: If the source is missing, empty or something else, or the disk is too small.
    """
    from experiments.public_data.coco import Coco
    from experiments.public_data.downloads import named_checksums

    coco = Coco(
        args.source, args.year, annotations=args.annotations, link=args.link,
        checksums=named_checksums(args.checksum), workers=args.workers, near_duplicates=args.near_duplicates,
    )  # fmt: skip
    coco.write(args.out)
    return Path(args.out)
