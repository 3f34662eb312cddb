"""Which pictures are trained on and which are not: a share is held out by a hash of the names, or a table says it."""

import csv
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from datamodules.records import Stored
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed

Item = TypeVar("Item", bound="Filed")


class Filed(Protocol):
    """What lies in a file, or is a record in one."""

    @property
    def path(self) -> Stored:
        """Its place."""


def checked_share(share: float) -> float:
    """Return a share in [0, 1) that is held out.

    Raises:
        ImpastoError: If it is none.
    """
    if not 0 <= share < 1:
        raise ImpastoError(f"holdout is a share in [0, 1), got {share}: 0.05 holds one in twenty pictures out.")
    return share


def hold_out(items: list[Item], share: float) -> tuple[list[Item], list[Item]]:
    """Split by a hash of the names; both parts keep the order, and the whole serves as both where it is too small.

    Args:
        items: In a fixed order.
        share: Of the second part, in [0, 1).
    """
    if share == 0 or len(items) < 2:
        return items, items
    count = min(math.ceil(len(items) * share), len(items) - 1)
    chosen = set(sorted(range(len(items)), key=lambda position: _name_hash(items[position].path))[:count])
    return _take(items, (i for i in range(len(items)) if i not in chosen)), _take(items, sorted(chosen))


def _take(items: list[Item], positions: Iterable[int]) -> list[Item]:
    return [items[position] for position in positions]


def _name_hash(path: Stored) -> bytes:
    name = composed(f"{path.parent.name}/{path.name}")
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def in_split(items: list[Item], split: str, table: Path, root: Path) -> list[Item]:
    """Return the items of a split, in their order; those of ``val`` for ``test``, where the table has none.

    Args:
        items: In files under the root.
        split: train, val or test.
        table: A CSV file with the columns path, relative to the root, and split.
        root: Of the items.

    Raises:
        ImpastoError: If the table is missing or something else, or none of the items are in the split.
    """
    splits = _read(table)
    wanted = "val" if split == "test" and "test" not in splits.values() else split
    own = [item for item in items if splits.get(_name(item.path, root)) == wanted]
    if not own:
        raise ImpastoError(f"{table} has nothing of {root} in the split '{wanted}': check its columns path and split.")
    return own


def _name(path: Stored, root: Path) -> str:
    return composed(path.relative_to(root).as_posix()) if isinstance(path, Path) else path.name


def _read(table: Path) -> dict[str, str]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"path", "split"} <= set(rows.fieldnames or ()):
                raise ImpastoError(f"{table} has no columns path and split: give a table that says the splits.")
            return {composed(row["path"]): row["split"] or "" for row in rows}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImpastoError(f"The table of splits {table} cannot be read ({error}): check the path.") from error
