"""Show the comparison on W&B: a workspace and a report, built by code; --dry-run writes them to a file instead."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto dashboard`."""
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="as of `impasto compare`; without any, all runs of the project"
    )
    parser.add_argument("--project", default="impasto", help="project on W&B (default: impasto)")
    parser.add_argument("--entity", default=os.environ.get("WANDB_ENTITY", ""), help="its owner (default: your own)")
    parser.add_argument("--dry-run", type=Path, metavar="FILE", help="write it as JSON; needs neither key nor network")


def main(args: argparse.Namespace) -> int:
    """Save the dashboard, or write it, and print where it is; 1 where a run had to be left out."""
    from experiments.report.dashboard import make_dashboard
    from experiments.report.gathering import gather
    from lightning_modules.errors import ImpastoError
    from lightning_modules.files import write_atomically

    if args.dry_run is None and not _has_key():
        raise ImpastoError(
            "There is no W&B key: run `wandb login`, set WANDB_API_KEY, or write the dashboard with --dry-run FILE."
        )
    with TemporaryDirectory() as downloads:
        found = gather(args.runs, Path(downloads))
    if args.runs and not (found.runs or found.evaluations):
        raise ImpastoError(" ".join(found.damaged))
    dashboard = make_dashboard(args.entity, args.project, found)
    for sentence in found.damaged:
        print(f"impasto: left out: {sentence}", file=sys.stderr)
    if args.dry_run is None:
        print("\n".join(dashboard.save()))
    else:
        write_atomically(args.dry_run, dashboard.to_json())
        print(args.dry_run)
    return int(bool(found.damaged))


def _has_key() -> bool:
    import wandb

    return bool(os.environ.get("WANDB_API_KEY")) or bool(wandb.login(prompt=False))
