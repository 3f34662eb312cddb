"""Sort an archive of pictures by a stylistic predictor: keep the styles, or keep the contents."""

from __future__ import annotations

import argparse
from pathlib import Path

EXECUTORS = ("pool", "loop", "slurm", "local", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto curate`."""
    parser.add_argument(
        "--shards", type=Path, required=True, metavar="DIR", help="tar files, as img2dataset writes them"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="C",
        help="of `make train-stylistic`: a file or a run's folder",
    )
    parser.add_argument(
        "--keep", choices=("stylistic", "content"), required=True, help="what makes a style, or what does not"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="P", help="least probability of being that (default: 0.5)"
    )
    parser.add_argument(
        "--min-side",
        type=int,
        default=1024,
        metavar="N",
        help="least short side of a picture in pixels (default: 1024)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="scores, manifest and contact sheet")
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="pool",
        help="pool: processes of this machine (default); loop: this process alone; slurm: an array of jobs; local: the "
        "same jobs without SLURM; ray: Ray Data",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes or jobs (default: all cores, or all GPUs)")
    parser.add_argument("--address", metavar="A", help="of a Ray cluster, such as auto (default: one on this machine)")
    parser.add_argument("--partition", metavar="NAME", help="of SLURM")
    parser.add_argument("--minutes", type=int, default=240, metavar="N", help="time limit of a job (default: 240)")
    parser.add_argument("--cpus", type=int, default=4, metavar="N", help="processors of a job (default: 4)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="pictures looked at at once (default: 32)")
    parser.add_argument(
        "--borderline",
        type=int,
        default=96,
        metavar="N",
        help="pictures nearest to the threshold to show (default: 96)",
    )


def main(args: argparse.Namespace) -> None:
    """Score what is not scored yet, write the manifest, and print its path last.

    Raises:
        ImpastoError: If an option, the checkpoint or the archive does not fit.
    """
    from experiments.curating.archive import shards_of
    from experiments.curating.manifest import Rule, write_results
    from experiments.curating.plan import executor_of, tasks_of
    from experiments.curating.rounds import run_rounds
    from experiments.curating.scoring import open_predictor
    from experiments.curating.settings import claim
    from experiments.painting.inference import find_checkpoint
    from lightning_modules.errors import ImpastoError

    if not 0 <= args.threshold <= 1:
        raise ImpastoError(f"--threshold is a probability, in [0, 1], not {args.threshold}.")
    if (args.workers is not None and args.workers < 1) or args.batch < 1:
        raise ImpastoError("--workers and --batch must be at least 1.")
    checkpoint, shards = find_checkpoint(args.checkpoint).resolve(), shards_of(args.shards)
    open_predictor(checkpoint, "cpu")  # says what is wrong with it before any worker starts
    claim(args.out, checkpoint=checkpoint, shards=args.shards, min_side=args.min_side)
    tasks = tasks_of(args, checkpoint, shards)
    run_rounds(executor_of(args), tasks)
    for leftover in (args.out / "scores").glob(".*.parquet"):  # of workers that were killed
        leftover.unlink(missing_ok=True)
    manifest = write_results(tasks, args.out, Rule(args.keep, args.threshold), args.borderline)
    for name in ("summary.json", "broken.csv", "borderline.csv", "borderline.jpg"):
        print(f"{name.partition('.')[0]:<11}{args.out / name}")
    print(manifest)
