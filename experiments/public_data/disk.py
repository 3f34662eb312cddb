"""Room on the disk, asked for before anything is written, and what a killed command left there."""

import re
import shutil
from pathlib import Path

from lightning_modules.errors import ImpastoError

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}(\.\w+)?")  # as `lightning_modules.files.replacing` names them


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Stop unless the disk of a folder has room.

    Args:
        folder: Where it will be written; it need not exist yet.
        needed: Bytes.
        purpose: What they are for.

    Raises:
        ImpastoError: If there is less.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ImpastoError(
            f"{purpose} needs {size(needed)} and the disk of {folder} has {size(free)} left: make room, or choose "
            "another place with --out."
        )


def size(count: int) -> str:
    """Return a number of bytes for people.

    Examples:
        >>> size(18 * 10**9)
        '18.0 GB'
    """
    amount, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a command that was killed; nobody else may write to the folder meanwhile."""
    for path in folder.glob(".*") if folder.is_dir() else ():
        if path.is_file() and _TEMPORARY.fullmatch(path.name):
            path.unlink()
