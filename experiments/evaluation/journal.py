"""What has been painted already: one line a picture, so that an evaluation goes on where it was stopped."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lightning_modules.errors import ImpastoError
from lightning_modules.files import write_atomically

NAME = "journal.jsonl"
ENDED = f".{NAME}"
"""The journal of an evaluation that is being removed, until the next one has begun."""
LOCK = ".lock"
WHAT = {
    "format": "another version of Impasto",
    "protocol": "another protocol",
    "checkpoint": "another checkpoint",
    "settings": "other settings",
    "device": "another device",
    "threads": "another number of threads",
}
"""What differs, by the first entry of the head that does."""


class Journal:
    """The pictures that are finished, in a file of an evaluation's folder.

    A line is written when its picture is on the disk; a last line that breaks off, as `kill -9` leaves it, is dropped.

    Args:
        folder: Of the evaluation.
        head: What all pictures of the folder have in common; JSON.
        anew: Whether `start_anew` has just removed an evaluation: what else is there had its place beside that one.

    Attributes:
        entries: What was noted of every finished picture, by its id.

    Raises:
        ImpastoError: If the folder holds pictures of another evaluation, or something else.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any], *, anew: bool = False) -> None:
        self._path = folder / NAME
        self.entries: dict[str, dict[str, Any]] = {}
        if not self._path.is_file():
            if not anew:
                _refuse_strangers(folder)
            write_atomically(self._path, _line(head))
            (folder / ENDED).unlink(missing_ok=True)
            return
        lines = self._path.read_bytes().split(b"\n")
        whole = [line for line in map(_parsed, lines[:-1]) if line is not None]  # what follows the last end is broken
        if not whole:
            raise ImpastoError(f"{self._path} is damaged: start anew with --overwrite, or give another --out.")
        _compare(whole[0], json.loads(_line(head)), folder)
        self.entries = {str(entry["id"]): entry for entry in whole[1:] if "id" in entry}
        if lines[-1] or len(whole) < len(lines) - 1:
            write_atomically(self._path, "".join(map(_line, [whole[0], *self.entries.values()])))

    def add(self, entry: Mapping[str, Any]) -> None:
        """Note a finished picture; it is on the disk when this returns.

        Args:
            entry: With the picture's ``id``; JSON.
        """
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())
        self.entries[str(entry["id"])] = dict(entry)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other process evaluate into a folder; a killed one holds nothing.

    Raises:
        ImpastoError: If another one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise ImpastoError(f"Another process evaluates into {folder}: wait for it, or give another --out.") from error


def start_anew(folder: Path, results: tuple[str, ...]) -> bool:
    """Remove what an evaluation left in its folder, and what an earlier removal left that was stopped.

    Args:
        folder: Of the evaluation; where it holds none, nothing is removed.
        results: Names of the files and folders that it writes beside the journal, and of what was measured from them.

    Returns:
        Whether there was one; `Journal` then begins beside whatever else is there.
    """
    ended = folder / ENDED
    if (folder / NAME).is_file():
        (folder / NAME).replace(ended)  # what is stopped here is no evaluation any more
    if not ended.is_file():
        return False
    for name in results:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return True


def _refuse_strangers(folder: Path) -> None:
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise ImpastoError(f"{folder} holds {strangers[0]} and no evaluation: give an empty or new folder as --out.")


def _compare(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    for key, what in WHAT.items():
        if found.get(key) != wanted.get(key):
            raise ImpastoError(
                f"{folder} holds pictures of {what} ({_shown(found.get(key))}, not {_shown(wanted.get(key))}): give "
                "another --out, or start anew with --overwrite."
            )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if len(text) == 64 else text  # a hash


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=True) + "\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
