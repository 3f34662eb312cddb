"""Where tables go: looked at before anything is measured, and written all of them or none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile

from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing, write_atomically
from lightning_modules.paths import refuse_overwriting


def check_targets(targets: Mapping[Path, Sequence[str]], read: Iterable[Path]) -> None:
    """Refuse files that could not be written when everything is measured, or that would replace what was read.

    Args:
        targets: Each file, and the suffixes that its name may have.
        read: The files that the command reads.

    Raises:
        ImpastoError: If a suffix is not among those, a file cannot be written or is another one of the command.
    """
    for path, suffixes in targets.items():
        if path.suffix.lower() in suffixes:
            _probe(path)
        if path.suffix.lower() not in suffixes or path.is_dir():
            raise ImpastoError(f"{path} cannot be written: its name must end in {' or '.join(suffixes)}.")
    refuse_overwriting(targets, read)


def write_all(texts: Mapping[Path, str]) -> None:
    """Write several small files, all of them or none: after an error each is what it was before.

    Raises:
        ImpastoError: If one cannot be written.
    """
    path = None
    try:
        with ExitStack() as stack:
            for path in texts:
                stack.enter_context(_restoring(path))
            for path, text in texts.items():
                stack.enter_context(replacing(path)).write_bytes(text.encode())
    except OSError as error:
        place = error.filename2 or path  # of a rename that failed, the file that it was for
        raise ImpastoError(f"{place} cannot be written ({error.strerror or error}): choose another place.") from error


def _probe(path: Path) -> None:
    """Write something where the file will be, and remove it."""
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()  # a name may be too long
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise ImpastoError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from error


@contextmanager
def _restoring(path: Path) -> Iterator[None]:
    """Put back what was there if the block fails."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if before is None:
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, before)
        raise
