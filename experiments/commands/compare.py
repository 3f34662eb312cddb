"""Compare runs: metrics, samples, curves and settings on one page, and the table as CSV and Markdown."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto compare`."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run, e.g. runs/clast/latest")
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")


def main(args: argparse.Namespace) -> None:
    """Write the report and print the page's path."""
    from experiments.report.page import RECORDS, RESULTS, write_report
    from lightning_modules.paths import refuse_overwriting

    refuse_overwriting(
        (args.out / name for name in RESULTS), (folder / name for folder in args.runs for name in RECORDS)
    )
    print(write_report(args.runs, args.out))
