"""Files that are written whole or not at all, and tables that are read. No Lightning and no torch in here."""

import csv
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_modules.paths import shown


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; what is there when the block closes takes the place of ``path``.

    The name is hidden, unique and has the suffix of ``path``, in its folder, which is made where it is missing. An
    exception in the block (Ctrl-C included) removes the temporary file and leaves ``path`` as it was.

    Args:
        path: The file to write or to replace.

    Yields:
        A path beside it, where nothing is yet.

    Raises:
        OSError: If the folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write a small file so that nobody ever sees half of it; text is UTF-8 with the line ends it has.

    Names in a text that are no UTF-8 are written as `lightning_modules.paths.shown` shows them.

    Raises:
        OSError: As of `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(shown(data).encode() if isinstance(data, str) else data)


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names in its first line.

    Raises:
        OSError, UnicodeDecodeError, csv.Error: If it cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
