"""A data set is made in a hidden folder beside its place, and moved there when it is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from experiments.public_data.disk import remove_leftovers
from experiments.public_data.manifest import MANIFEST
from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

DOWNLOADS = "downloads"
_RECIPE = "recipe.json"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Let one command at a time write to a folder.

    Raises:
        ImpastoError: If another one does.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0):
            yield
    except Timeout as error:
        raise ImpastoError(f"Another command writes to {out}: wait for it, or stop it.") from error


@contextmanager
def staged(out: Path, recipe: dict[str, Any]) -> Iterator[Path | None]:
    """Give a folder to fill, or None where the data set is there; it takes its place when the block closes.

    What a command that was interrupted left in the folder is there again for the same recipe.

    Args:
        out: Where the data set will be.
        recipe: What it is made of.

    Raises:
        ImpastoError: If something else is there.
    """
    with alone(out):
        if is_made(out, recipe):
            yield None
            return
        folder = out.with_name(f".{out.name}.preparing")
        if read_recipe(folder / _RECIPE) != recipe:
            shutil.rmtree(folder, ignore_errors=True)
            write_atomically(folder / _RECIPE, json.dumps({"recipe": recipe}))
        for inner in (folder, *(path for path in folder.iterdir() if path.is_dir())):
            remove_leftovers(inner)
        yield folder
        shutil.rmtree(folder / DOWNLOADS, ignore_errors=True)
        (folder / _RECIPE).unlink()
        if out.exists():
            out.rmdir()
        folder.rename(out)


def is_made(out: Path, recipe: dict[str, Any]) -> bool:
    """Tell whether a folder holds the data set of a recipe already; an empty one holds nothing.

    Raises:
        ImpastoError: If it holds anything else.
    """
    found = read_recipe(out / MANIFEST)
    if found == recipe:
        return True
    if found is not None:
        names = ", ".join(name for name in recipe if recipe[name] != found.get(name))
        raise ImpastoError(f"{out} holds a data set of other settings ({names}): choose another folder with --out.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ImpastoError(f"{out} holds something other than a prepared data set: choose another folder with --out.")
    return False


def read_recipe(path: Path) -> dict[str, Any] | None:
    """Return the recipe that a file tells of; None where it tells of none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    recipe = found.get("recipe") if isinstance(found, dict) else None
    return recipe if isinstance(recipe, dict) else None
