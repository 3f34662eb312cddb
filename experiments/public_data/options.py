"""Options of all public data sets of pictures on disk. Nothing in this file may import torch."""

import argparse


def add_common(parser: argparse.ArgumentParser) -> None:
    """Declare what all public data sets of pictures on disk take."""
    parser.add_argument(
        "--link", choices=("hard", "soft", "copy"), default="hard",
        help="how the files of a folder get there: as a second name of the same file (the default; a copy where the "
        "disk is another one), as a link to their path, or as a copy",
    )  # fmt: skip
    parser.add_argument(
        "--checksum", action="append", default=[], metavar="FILE=HEX",
        help="MD5 or SHA-256 of a file that is fetched, for example train2017.zip=...; may be repeated",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes that look at pictures (default: all cores)")
    parser.add_argument(
        "--no-near-duplicates", dest="near_duplicates", action="store_false",
        help="do not look for pictures that are nearly the same in several splits",
    )  # fmt: skip
