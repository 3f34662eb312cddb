"""Tables of a validation, as CSV files."""

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_modules.files import replacing

Describe = Callable[[int, str], dict[str, str]]


def sample_rows(
    indices: Tensor,
    groups: Tensor,
    columns: Mapping[str, Tensor],
    names: Mapping[int, str],
    datamodule: Any,
    split: str,
) -> list[dict[str, Any]]:
    """Return one row for every sample: its index, what it is, and its values; a value that is nan is left empty.

    Args:
        indices: ``(N,)``, the samples' positions in their split.
        groups: ``(N,)``, the artists' numbers.
        columns: Key to values ``(N,)``; those that are nan everywhere are left out.
        names: Artists by number.
        datamodule: Its ``describe(index, split)``, if it has that, says what a sample is; else the artist's name does.
        split: ``"val"`` or ``"test"``.
    """
    describe: Describe = getattr(datamodule, "describe", _nothing)
    kept = {key: column.tolist() for key, column in columns.items() if not bool(column.isnan().all())}
    rows = []
    for row, (index, group) in enumerate(zip(indices.tolist(), groups.tolist(), strict=True)):
        values = {key: "" if math.isnan(column[row]) else column[row] for key, column in kept.items()}
        rows.append({"index": index, "artist": names[group]} | describe(index, split) | values)
    return rows


def _nothing(index: int, split: str) -> dict[str, str]:  # noqa: ARG001 - a data module's signature
    return {}


def write_csv(table: list[dict[str, Any]], path: Path) -> None:
    """Write rows, of which each may lack some of the columns."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in table for key in row)))
        writer.writeheader()
        writer.writerows(table)
