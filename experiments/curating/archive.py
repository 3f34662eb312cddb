"""Reads what img2dataset writes: tar files with a picture and a JSON record for every key."""

import hashlib
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from datamodules.images import is_image_name
from lightning_modules.errors import ImpastoError


class DamagedShardError(ImpastoError):
    """A shard that ends early, or is none; what came before it was read."""


class Member(NamedTuple):
    """A picture of a shard.

    Attributes:
        key: Its name without suffixes.
        name: Its name.
        data: Its bytes.
        record: What is known of it, such as ``url`` and ``sha256``; empty where nothing is.
    """

    key: str
    name: str
    data: bytes
    record: Mapping[str, Any]

    @property
    def url(self) -> str:
        """Where it came from; empty where nobody knows."""
        return str(self.record.get("url") or "")

    @property
    def sha256(self) -> str:
        """Of the file that was fetched, as the record has it, else of the bytes that are here."""
        return str(self.record.get("sha256") or hashlib.sha256(self.data).hexdigest())


def shards_of(folder: Path) -> list[Path]:
    """List the shards of an archive, sorted by name.

    Raises:
        ImpastoError: If there are none.
    """
    if not folder.is_dir():
        raise ImpastoError(f"There is no folder {folder}: give the one that img2dataset wrote its shards to.")
    found = sorted(path for path in folder.glob("*.tar") if not path.name.startswith("."))
    if not found:
        raise ImpastoError(f"No shards in {folder}: it should hold files such as 00000.tar.")
    return found


def members(shard: Path, only: Collection[str] | None = None) -> Iterator[Member]:
    """Yield the pictures of a shard, in its order.

    Args:
        shard: A tar file, in which the files of one key are neighbours.
        only: Keys to yield; None yields all.

    Raises:
        DamagedShardError: Behind the last whole picture of a damaged shard.
    """
    held: dict[str, bytes] = {}
    current = ""
    failure: Exception | None = None
    try:
        for key, name, data in _files(shard, only):
            if key != current:
                yield from _joined(current, held)
                current, held = key, {}
            held[name] = data
    except (tarfile.TarError, OSError, EOFError) as error:
        failure = error
    yield from _joined(current, held)
    if failure is not None:
        raise DamagedShardError(f"{shard} is cut off or damaged ({failure}): fetch it again.") from failure


def _files(shard: Path, only: Collection[str] | None) -> Iterator[tuple[str, str, bytes]]:
    """Yield key, name and bytes of every file."""
    with tarfile.open(shard) as archive:
        for entry in archive:
            path = PurePosixPath(entry.name)
            key = str(path.with_name(path.name.partition(".")[0]))
            file = archive.extractfile(entry) if entry.isfile() and (only is None or key in only) else None
            if file is not None:
                yield key, entry.name, file.read()


def _joined(key: str, held: Mapping[str, bytes]) -> Iterator[Member]:
    name = next((name for name in held if is_image_name(PurePosixPath(name).name)), None)
    if name is None:
        return
    text = next((data for other, data in held.items() if other.endswith(".json")), b"{}")
    try:
        record = json.loads(text)
    except ValueError:
        record = {}
    yield Member(key, name, held[name], record if isinstance(record, dict) else {})
