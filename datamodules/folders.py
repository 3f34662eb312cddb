"""What lies in a folder: every real file once, and a word about what is left out."""

import os
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path

from datamodules.notes import note
from lightning_modules.paths import identity

_KINDS_SHOWN = 5


def list_files(folder: Path, wanted: Callable[[Path], bool], *, aliases: bool = False) -> list[Path]:
    """List the files under a folder, at any depth; what is hidden is left out, other unwanted files with a note.

    Links are followed, but a folder is never entered inside itself. A file that several paths lead to is listed once,
    by its own path where that is among them, else by the first.

    Args:
        folder: Where to look.
        wanted: Tells by its path whether a file belongs to the list.
        aliases: List a file under every path that leads to it, for lists that are searched by name.

    Returns:
        Paths that start with ``folder``, sorted.
    """
    found: list[Path] = []
    unwanted: list[Path] = []
    for path in _walk(folder, aliases=aliases):
        (found if wanted(path) else unwanted).append(path)
    listed = found if aliases else list(_each_once(found))
    note_left_out(folder, unwanted, repeated=len(found) - len(listed))
    return sorted(listed)


def note_left_out(folder: Path, paths: list[Path], *, reason: str = "of other kinds", repeated: int = 0) -> None:
    """Say how many files of a folder are not used and of which kinds, and how many are there under another name."""
    kinds = Counter(path.suffix.lower() or "no suffix" for path in paths)
    counts = [f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))]
    if len(counts) > _KINDS_SHOWN:
        counts[_KINDS_SHOWN - 1 :] = [f"{len(counts) - _KINDS_SHOWN + 1} more kinds"]
    parts = [f"{len(paths)} {reason} ({', '.join(counts)})"] if paths else []
    parts += [f"{repeated} that other names lead to"] if repeated else []
    if parts:
        note(f"{folder}: left out {' and '.join(parts)}.")


def _walk(folder: Path, *, aliases: bool) -> Iterator[Path]:
    return _every_path(folder, frozenset()) if aliases else _every_folder_once(folder)


def _every_folder_once(root: Path) -> Iterator[Path]:
    """Walk folders that really lie there first, then those that links lead to."""
    links, entered = deque([root]), set[Hashable]()
    while links:
        top = links.popleft()
        if identity(top) in entered:
            continue
        for parent, folders, names in os.walk(top, onerror=_note_closed):
            entered.add(identity(Path(parent)))
            below = [Path(parent, name) for name in _visible(folders)]
            links += [path for path in below if path.is_symlink()]
            folders[:] = [p.name for p in below if not p.is_symlink() and identity(p) not in entered]
            yield from (Path(parent, name) for name in _visible(names))


def _every_path(folder: Path, above: frozenset[Hashable]) -> Iterator[Path]:
    """Walk folders as often as links lead to them, except into one that the path has gone through."""
    here = above | {identity(folder)}
    try:
        names = _visible([path.name for path in folder.iterdir()])
    except OSError as error:
        return _note_closed(error)
    for path in (folder / name for name in names):
        if not path.is_dir():
            yield path
        elif identity(path) not in here:
            yield from _every_path(path, here)


def _visible(names: list[str]) -> list[str]:
    """Sort names; programs hide copies and half-written files behind a dot."""
    return sorted(name for name in names if not name.startswith("."))


def _each_once(paths: list[Path]) -> Iterator[Path]:
    """Leave out repetitions; a path that is no link comes before those that are."""
    seen: set[Hashable] = set()
    for path in sorted(paths, key=os.path.islink):
        try:
            own = identity(path)
        except OSError:  # a link to nothing: whoever reads it says so
            own = path
        if own not in seen:
            seen.add(own)
            yield path


def _note_closed(error: OSError) -> None:
    note(f"{error.filename} cannot be opened ({error.strerror}): what lies in it is left out.")
