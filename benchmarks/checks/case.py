"""What a check of `benchmarks.gpu_check` is, and what it says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch


class Place(NamedTuple):
    """Where a check runs.

    Attributes:
        device: The device.
        tiny: Whether everything is small: to try the script where there is no GPU.
        pictures: Folder of `benchmarks.full_profiles.make_pictures`.
    """

    device: torch.device
    tiny: bool
    pictures: Path


class Row(NamedTuple):
    """One figure; ``note`` says what it stands beside."""

    what: str
    value: float
    unit: str
    note: str = ""


class Case(NamedTuple):
    """One check, which runs in a process of its own.

    Attributes:
        name: What the table calls it.
        run: Yields figures one by one; raises where something is wrong. It must be a function of a module, or a
            `functools.partial` of one.
        seconds: It may take; what takes longer is ended and has failed.
    """

    name: str
    run: Callable[[Place], Iterator[Row]]
    seconds: float = 60.0


class SkippedCheck(Exception):  # noqa: N818 - it is no error
    """What a check cannot do here, and why."""


class WrongFigureError(Exception):
    """A figure that is not what it must be."""


def worst(rows: Iterator[Row]) -> Row:
    """Return the largest of some differences, with their number."""
    found = sorted(rows, key=lambda row: row.value)
    return found[-1]._replace(note=f"the largest of {len(found)}")
