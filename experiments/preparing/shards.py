"""Pack the pictures of archive shards, or those that curation keeps, into shards to train from."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare shards`."""
    parser.add_argument(
        "--archive", type=Path, required=True, metavar="DIR", help="folder of 00000.tar, as `prepare bbst` writes it"
    )
    parser.add_argument(
        "--manifest", type=Path, metavar="FILE", help="keep only what it keeps: the Parquet file of `impasto curate`"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the training shards")
    parser.add_argument(
        "--group", metavar="COLUMN",
        help="column of the archive's tables that names what belongs together, such as a project or an author",
    )  # fmt: skip
    parser.add_argument("--chunk-mib", type=int, default=64, metavar="N", help="size of a file in MiB (default: 64)")
    parser.add_argument("--workers", type=int, metavar="N", help="shards at a time (default: all cores, at most 8)")


def main(args: argparse.Namespace) -> Path:
    """Write the shards and return their folder.

    Raises:
        ImpastoError: If the archive or the manifest cannot be used.
    """
    from datamodules.shard_writing import default_workers, write_shards
    from experiments.progress import file_progress
    from lightning_modules.errors import ImpastoError

    if args.chunk_mib < 1 or (args.workers is not None and args.workers < 1):
        raise ImpastoError("--chunk-mib and --workers must be at least 1.")
    with file_progress() as progress:
        bar = progress.add_task("archive shards", total=None)
        return write_shards(
            args.archive, args.out, manifest=args.manifest, group=args.group, chunk_bytes=args.chunk_mib * 2**20,
            workers=args.workers or default_workers(),
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip
