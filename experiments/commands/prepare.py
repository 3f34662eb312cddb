"""Write a data set to disk, one that is painted or drawn here, or a public one in the layout that is trained on."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from experiments.commands import summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `impasto prepare`."""
    subparsers = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    for name, path in datasets().items():
        sentence = summary(path).removesuffix(".")
        module = importlib.import_module(f"experiments.preparing.{path.stem}")
        module.add_arguments(subparsers.add_parser(name, help=sentence[:1].lower() + sentence[1:]))


def main(args: argparse.Namespace) -> None:
    """Write the data set and print the path it lies at, last of all.

    Raises:
        ImpastoError: If the data set cannot be made.
    """
    print(importlib.import_module(f"experiments.preparing.{datasets()[args.dataset].stem}").main(args))


def datasets() -> dict[str, Path]:
    """Return the data sets: a file of `experiments.preparing` is one, its name with dashes the data set's name."""
    files = sorted((Path(__file__).parents[1] / "preparing").glob("[!_]*.py"))
    return {path.stem.replace("_", "-"): path for path in files}
