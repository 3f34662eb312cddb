"""Fetch pictures by lists of addresses, as for BBST-4M, into shards in which every good one is once."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare bbst`."""
    parser.add_argument(
        "--urls", type=Path, nargs="+", required=True, metavar="FILE",
        help="lists of addresses: .txt with one a line, or .csv, .tsv and .parquet, whose other columns are kept",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--url-column", default="url", metavar="NAME", help="of the addresses in tables (default: url)")
    parser.add_argument(
        "--min-side", type=int, default=1024, metavar="N",
        help="least pixels of a picture's shorter side (default: 1024)",
    )  # fmt: skip
    parser.add_argument("--shard-size", type=int, default=10000, metavar="N", help="addresses a shard (default: 10000)")
    parser.add_argument(
        "--distributor", choices=("multiprocessing", "ray", "pyspark"), default="multiprocessing",
        help="who spreads the shards in img2dataset (default: multiprocessing, on this machine)",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, metavar="N", help="that fetch a shard each (default: all cores)")
    parser.add_argument("--threads", type=int, default=64, metavar="N", help="pictures at once in each (default: 64)")
    parser.add_argument(
        "--timeout", type=float, default=10, metavar="S",
        help="seconds to wait for an answer, or for more of one (default: 10)",
    )  # fmt: skip
    parser.add_argument(
        "--picture-seconds", type=float, default=120, metavar="S", help="that a whole picture may take (default: 120)"
    )
    parser.add_argument("--retries", type=int, default=2, metavar="N", help="of a picture that fails (default: 2)")
    parser.add_argument(
        "--data-env", type=Path, default=Path(".venv-data"), metavar="DIR",
        help="the virtual environment with img2dataset, which `make data-env` makes (default: .venv-data)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes that look at pictures (default: all cores)")
    parser.add_argument(
        "--picture-size", type=float, default=0.5, metavar="MB",
        help="expected of a picture, for the question whether the disk has room; 0 does not ask (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--no-near-duplicates", dest="near_duplicates", action="store_false",
        help="do not look for pictures that are nearly the same in several splits",
    )  # fmt: skip


def main(args: argparse.Namespace) -> Path:
    """Fetch, look at and store the pictures, and return the folder.

    Raises:
        ImpastoError: If an option is out of range, or the pictures cannot be fetched or stored.
    """
    from experiments.processors import processors
    from experiments.public_data.engine import Engine
    from experiments.public_data.url_shards import UrlShards
    from lightning_modules.errors import ImpastoError

    for name in ("min_side", "shard_size", "threads", "timeout", "picture_seconds"):
        if getattr(args, name) <= 0:
            raise ImpastoError(f"{name} is {getattr(args, name)}, and must be more than 0.")
    engine = Engine(
        args.data_env, args.distributor, processes=args.processes or processors(), threads=args.threads,
        timeout=args.timeout, picture_seconds=args.picture_seconds, retries=args.retries,
    )  # fmt: skip
    shards = UrlShards(
        args.urls, column=args.url_column, min_side=args.min_side, shard_size=args.shard_size, engine=engine,
        workers=args.workers, near_duplicates=args.near_duplicates, expected=round(args.picture_size * 10**6),
    )  # fmt: skip
    shards.write(args.out)
    return Path(args.out)
