"""Open a page on this machine: upload a photograph, choose a trained run or a painter that ships, and paint."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto demo`."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs live (default: runs)")
    parser.add_argument(
        "--profile", default="tiny", help="of methods that need no checkpoint: their YAML file (default: tiny)"
    )
    parser.add_argument("--port", type=int, default=7860, help="of 127.0.0.1 (default: 7860)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument(
        "--max-side", type=int, default=1024, metavar="N",
        help="shrink pictures whose longer side exceeds N pixels (default: 1024)",
    )  # fmt: skip
    parser.add_argument(
        "--max-upload", type=int, default=20, metavar="MB", help="largest file that is taken (default: 20)"
    )
    parser.add_argument(
        "--max-waiting", type=int, default=16, metavar="N",
        help="pictures that may wait for the device; more are turned away (default: 16)",
    )  # fmt: skip


def main(args: argparse.Namespace) -> None:
    """Serve the page on localhost until Ctrl-C, and print its address.

    Raises:
        ImpastoError: If gradio is missing, the port is taken, or an option is out of its range.
    """
    from experiments.demo.choices import find_choices
    from experiments.demo.server import serving, wait
    from experiments.demo.uploads import Limits
    from experiments.painting.inference import choose_device
    from lightning_modules.errors import ImpastoError

    for option in ("max_side", "max_upload", "max_waiting"):
        if getattr(args, option) < 1:
            raise ImpastoError(f"--{option.replace('_', '-')} must be at least 1.")
    choose_device(args.device)  # which says what is not there
    limits = Limits(megabytes=args.max_upload, side=args.max_side, waiting=args.max_waiting)
    with serving(find_choices(args.runs, args.profile), args.device, args.port, limits) as address:
        print(address, flush=True)
        wait()
