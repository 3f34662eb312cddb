"""Names of files: which of them mean one file, and how they are shown. No Lightning and no torch in here."""

import re
import unicodedata
import uuid
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

from lightning_modules.errors import ImpastoError


class _Place(NamedTuple):
    """Where a path leads: something that exists, and the names below it that do not exist yet."""

    folder: Path
    identity: Hashable
    rest: tuple[str, ...]


def identity(path: Path) -> Hashable:
    """Return what is equal for two paths exactly if they are one file or folder, whatever links lie between.

    Raises:
        OSError: If there is nothing.
    """
    status = path.stat()
    return (status.st_dev, status.st_ino) if status.st_ino else path.resolve()  # some network disks number nothing


def composed(text: str) -> str:
    """Return a text with every accent inside its letter (NFC): macOS writes names with accents of their own."""
    return unicodedata.normalize("NFC", text)


def find_file(path: Path) -> Path:
    """Return a path as its disk spells it, where that differs in the accents' spelling alone; else ``path`` itself."""
    if path.exists() or not path.name or path.name == "..":
        return path
    folder = find_file(path.parent)
    if not folder.is_dir():
        return path
    name = composed(path.name)
    return next((each for each in sorted(folder.iterdir()) if composed(each.name) == name), path)


def shown(text: Path | str) -> str:
    r"""Return a name, or a text with names in it, that any file or console takes.

    Names of files are bytes; those that are no UTF-8 reach Python as lone surrogates, which cannot be written.

    Examples:
        >>> import os
        >>> shown(os.fsdecode(b"caf\xe9.jpg"))
        'caf\\xe9.jpg'
    """
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def slug(text: str, most: int = 80) -> str:
    """Return a text as a name that any file system takes, of at most so many letters.

    Examples:
        >>> slug("A pond in the style of <ada-stipple>")
        'a-pond-in-the-style-of-ada-stipple'
    """
    return re.sub(r"\W+", "-", text.casefold()).strip("-")[:most].rstrip("-") or "unnamed"


def refuse_overwriting(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse to write what is read, and to write two results to one place.

    Paths are compared by the file that they lead to, through links, ``..`` and spellings that their disk takes for
    one.

    Args:
        targets: What a command is going to write.
        sources: What it reads; those that do not exist are left to whoever reads them.

    Raises:
        ImpastoError: If a target is a source, or two targets are one file.
    """
    read = {identity(source): source for source in sources if source.exists()}
    taken: dict[tuple[Hashable, tuple[str, ...]], tuple[_Place, Path]] = {}
    for target in targets:
        place = _place(target)
        if not place.rest and place.identity in read:
            raise ImpastoError(
                f"{target} would overwrite {read[place.identity]}, which this command reads: choose another place."
            )
        folded = (place.identity, tuple(composed(name).casefold() for name in place.rest))
        other, twin = taken.setdefault(folded, (place, target))
        if twin is not target and _is_one_file(place, other):
            raise ImpastoError(
                f"Two results would go to {target}, one of them as {twin}, and one would overwrite the other: rename "
                "what they are made from, or choose another place."
            )


def _place(path: Path) -> _Place:
    rest: list[str] = []
    try:
        folder = path.resolve()
    except (OSError, RuntimeError):  # links in a circle lead nowhere
        folder = path.absolute()
    while True:
        try:
            return _Place(folder, identity(folder), tuple(reversed(rest)))
        except OSError:
            rest.append(folder.name)
            folder = folder.parent


def _is_one_file(one: _Place, other: _Place) -> bool:
    """Ask the disk whether it takes two spellings for one name: some do not look at letter case, or at accents."""
    names = next(((a, b) for a, b in zip(one.rest, other.rest, strict=True) if a != b), None)
    if names is None:
        return True
    prefix = f".{uuid.uuid4().hex}"
    probe, spelt_otherwise = (one.folder / (prefix + name) for name in names)
    try:
        probe.touch(exist_ok=False)
        return spelt_otherwise.exists()
    except OSError:  # where nothing can be written, nothing is overwritten
        return False
    finally:
        probe.unlink(missing_ok=True)
