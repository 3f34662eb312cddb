"""Zip files of pictures: what is in them, without trust in the names that they give."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing


class WrongArchiveError(ImpastoError):
    """A file that is no zip file, or another one than was expected."""


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file.

    Raises:
        WrongArchiveError: If it is none, or is cut off or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise WrongArchiveError(f"{path} is no whole zip file ({error}): fetch it again.") from error


def members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """List the files of an archive by name, without those that would leave the folder they are unpacked to."""
    inner = (info for info in archive.infolist() if not info.is_dir())
    return sorted((info for info in inner if _stays(info.filename)), key=lambda info: info.filename)


def _stays(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "__MACOSX" not in path.parts


def extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a file, whole or not at all; one that is there with its size is left.

    Raises:
        zipfile.BadZipFile: If its checksum is wrong.
    """
    if target.is_file() and target.stat().st_size == member.file_size:
        return
    with archive.open(member) as source, replacing(target) as temporary, temporary.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)
