"""Lay out WikiArt's paintings by artist, from a folder, a zip file, parquet files or an address."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.public_data.options import add_common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare wikiart`."""
    parser.add_argument(
        "--source", required=True, metavar="PATH|URL",
        help="folder of artists' folders, or of styles' folders with artist_title.jpg in them; a zip file of one; "
        "parquet files as Hugging Face has them; or the address of a zip or parquet file",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("data/wikiart"), help="folder to make (default: data/wikiart)")
    parser.add_argument(
        "--layout", choices=("auto", "artists", "styles"), default="auto",
        help="what the folders are named after (default: auto, which knows WikiArt's styles)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, metavar="PATH",
        help="splits and classes: ArtGAN's folder wikiart_csv, or a CSV file with a column path (or filename), and "
        "split (or subset), artist, style or genre",
    )  # fmt: skip
    parser.add_argument(
        "--split-by", choices=("artist", "style", "genre"), default="style",
        help="which of ArtGAN's tables gives the splits (default: style, which has all paintings)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-unknown", action="store_true", help="take paintings of unknown painters as those of one more artist"
    )
    add_common(parser)


def main(args: argparse.Namespace) -> Path:
    """Make the data set, unless it is there, and return its folder.

    Raises:
        ImpastoError: If the source is missing, empty or something else, or the disk is too small.
    """
    from experiments.public_data.downloads import named_checksums
    from experiments.public_data.wikiart import WikiArt

    wikiart = WikiArt(
        args.source, layout=args.layout, labels=args.labels, split_by=args.split_by, keep_unknown=args.keep_unknown,
        link=args.link, checksums=named_checksums(args.checksum), workers=args.workers,
        near_duplicates=args.near_duplicates,
    )  # fmt: skip
    wikiart.write(args.out)
    return Path(args.out)
