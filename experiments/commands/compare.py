"""Compare runs: metrics with intervals, papers' figures, pictures, curves and settings on one page, also as tables."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto compare`."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folder of a run, of an evaluation or of an offline run of W&B, a folder of such folders, or "
        "wandb:entity/project/run",
    )
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")


def main(args: argparse.Namespace) -> int:
    """Write the report and print the page's path; 1 where a run had to be left out."""
    from experiments.report.page import RESULTS, write_report
    from experiments.report.records import EVALUATION, RECORDS
    from lightning_modules.paths import refuse_overwriting

    read = (*RECORDS, EVALUATION)
    refuse_overwriting((args.out / name for name in RESULTS), (Path(run, name) for run in args.runs for name in read))
    report = write_report(args.runs, args.out)
    for sentence in report.damaged:
        print(f"impasto: left out: {sentence}", file=sys.stderr)
    print(report.page)
    return int(bool(report.damaged))
