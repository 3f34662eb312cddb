"""One file per command of ``impasto``; each is imported when it is called. Nothing in this file may import torch."""

import ast
from pathlib import Path

TRAINER_COMMANDS = {
    "fit": "Train a method.",
    "validate": "Measure a checkpoint on the validation split.",
    "test": "Measure a checkpoint on the test split.",
    "predict": "Stylize the prediction split.",
}
"""What `experiments.training` runs."""


def commands() -> dict[str, Path]:
    """Return the commands of this folder: a file is a command, its name with dashes the command's name."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {path.stem.replace("_", "-"): path for path in files}


def summary(path: Path) -> str:
    """Return the first line of a module's docstring without importing the module."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
