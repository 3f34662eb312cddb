"""Options that several commands share. Nothing in this file may import torch."""

import argparse
from pathlib import Path


def add_model_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare which method a command works with: a checkpoint, or a method that needs none."""
    model = parser.add_mutually_exclusive_group(required=required)
    model.add_argument(
        "--checkpoint", type=Path, help="a .ckpt file, the folder of a run, embedded:NAME, or hf:USER/NAME"
    )
    model.add_argument("--method", help="a method that needs no training, by its name")
    model.add_argument(
        "--config", type=Path, action="append", help="the same by YAML files, as `impasto fit` takes them"
    )
    parser.add_argument("--profile", default="tiny", help="of --method: its YAML file (default: tiny)")


def assignment(text: str) -> tuple[str, str]:
    """Read NAME=VALUE.

    Raises:
        argparse.ArgumentTypeError: If it is something else, or one of them is empty.
    """
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or not value:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value
