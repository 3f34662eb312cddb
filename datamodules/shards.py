"""Millions of pictures in training shards, as contents or as styles."""

import hashlib
import math
import os
import threading
from collections.abc import Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from datamodules.records import OpenFiles, Record, runs
from datamodules.shard_cache import ChunkCache, is_remote
from datamodules.shard_files import CHUNKS, PICTURES, ShardIndex, check_chunk, check_chunks, load_index
from datamodules.sources import Content, ContentSource, OwnStyles, Painting, Split, StyleSource
from datamodules.splits import checked_share
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import slug

Item = TypeVar("Item", covariant=True)


class Shards(ContentSource, StyleSource):
    """What `impasto prepare shards` wrote, on this machine or on object storage.

    As styles, every picture is one of its own. Batches go through the shards block by block, see
    `datamodules.orders.BlockOrder`.

    Args:
        root: The folder, or a URL such as ``s3://bucket/bbst/style``.
        holdout: Share of the pictures held out for validation and test, in [0, 1), chosen by a hash of their groups,
            or of the pictures themselves where they have none.
        cache: Folder for chunks that are fetched from a URL, with a folder of its own for each.
        cache_gib: What that may hold, in GiB; more than the chunks that are in use at a time, see docs/streaming.md.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        holdout: float = 0.001,
        cache: Path | str = "data/shard_cache",
        cache_gib: float = 64.0,
    ) -> None:
        self.root = str(root)
        self.holdout = checked_share(holdout)
        own = Path(cache, _folder_name(self.root))  # chunks of two data sets have the same names
        self.cache = ChunkCache(self.root, own, int(cache_gib * 2**30)) if is_remote(self.root) else None
        self._loaded: tuple[ShardIndex, ShardReader] | None = None

    def prepare(self) -> None:
        """Fetch the index, where it is elsewhere."""
        for name in (CHUNKS, PICTURES) if self.cache is not None else ():
            self.cache.fetch(name)  # type: ignore[union-attr]

    def contents(self, split: Split) -> Sequence[Content]:
        """List the photographs of a split, in the order of the shards."""
        return _Contents(*self._listed(split))

    def paintings(self, split: Split) -> OwnStyles:
        """List the paintings of a split, in the order of the shards."""
        return _Paintings(*self._listed(split))

    def _listed(self, split: Split) -> "tuple[ShardReader, NDArray[np.int64]]":
        if self._loaded is None:
            self._loaded = self._load()
        index, reader = self._loaded
        train, held_out = _hold_out(index.hash, self.holdout)
        return reader, train if split == "train" else held_out

    def _load(self) -> "tuple[ShardIndex, ShardReader]":
        if self.cache is not None:
            self.prepare()
            index = load_index(self.cache.folder, self.root)
        else:
            folder = Path(self.root)
            if not folder.is_dir():
                raise ImpastoError(f"The folder of shards {folder} does not exist: check the path.")
            index = load_index(folder, self.root)
            check_chunks(index, folder)
        return index, ShardReader(self.root, index, self.cache)


class ShardReader:
    """Reads pictures by number.

    Args:
        root: The folder of the chunks.
        index: Of its pictures.
        cache: Holds the chunks, where they are elsewhere.
    """

    def __init__(self, root: str, index: ShardIndex, cache: ChunkCache | None = None) -> None:
        self.root = root
        self.index = index
        self.cache = cache
        self._open: OpenFiles[FileIO] = OpenFiles()
        self._lock = threading.Lock()

    def read(self, number: int) -> bytes:
        """Return a picture's bytes.

        Raises:
            ImpastoError: If its chunk is missing or damaged, or cannot be fetched.
        """
        index, chunk = self.index, int(self.index.chunk[number])
        size = int(index.size[number])
        with self._lock:
            file = self._open.get(chunk, partial(self._opened, chunk))
            data = os.pread(file.fileno(), size, int(index.offset[number]))
        if len(data) < size:
            raise ImpastoError(f"The shard {self.root}/{index.names[chunk]} was cut while it was read: copy it again.")
        return data

    def record(self, number: int) -> Record:
        """Return a picture's place."""
        index = self.index
        return Record(Path(self.root, index.names[int(index.chunk[number])]), self.key(number), number, self)

    def key(self, number: int) -> str:
        """Return a picture's name."""
        return str(self.index.keys[number].as_py())

    def group(self, number: int) -> str | None:
        """Return the name of a picture's group; None where it has none."""
        code = int(self.index.group[number])
        return None if code < 0 else str(self.index.groups[code].as_py())

    def _opened(self, chunk: int) -> FileIO:
        name, size = self.index.names[chunk], int(self.index.bytes[chunk])
        path = Path(self.root, name) if self.cache is None else self.cache.fetch(name, size)
        check_chunk(path, size)
        return FileIO(path)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "index": self.index, "cache": self.cache}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # files are opened where they are read


class _Listed(Sequence[Item]):
    """Some pictures of a reader; what is said of one is made when it is asked for."""

    def __init__(self, reader: ShardReader, numbers: NDArray[np.int64]) -> None:
        self.reader = reader
        self.numbers = numbers
        self.blocks = runs(reader.index.chunk[numbers])

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, position: int) -> Item: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Item]: ...

    def __getitem__(self, position: int | slice) -> Item | Sequence[Item]:
        if isinstance(position, slice):
            return [self._item(int(number)) for number in self.numbers[position]]
        return self._item(int(self.numbers[position]))

    def _item(self, number: int) -> Item:
        raise NotImplementedError

    def _title(self, number: int) -> str:
        return f"{self.reader.root}/{self.reader.key(number)}"  # keys of two archives mean nothing to each other


class _Contents(_Listed[Content]):
    def _item(self, number: int) -> Content:
        return Content(self.reader.record(number), self._title(number))


class _Paintings(_Listed[Painting], OwnStyles):
    def _item(self, number: int) -> Painting:
        name = self.reader.group(number) or self.reader.key(number)
        return Painting(self.reader.record(number), name, self._title(number))

    def label(self, position: int) -> int:
        """Return the number of a painting's group, or one of its own."""
        number = int(self.numbers[position])
        group = int(self.reader.index.group[number])
        return group if group >= 0 else len(self.reader.index.groups) + number


def _folder_name(url: str) -> str:
    return f"{slug(url.rpartition('/')[2])}-{hashlib.blake2b(url.encode(), digest_size=6).hexdigest()}"


def _hold_out(hashes: NDArray[np.int64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split by the hashes, equal ones to the same side; the whole serves as both where it is too small."""
    everything = np.arange(len(hashes))
    if share == 0 or len(hashes) < 2:
        return everything, everything
    count = min(math.ceil(len(hashes) * share), len(hashes) - 1)
    held_out = hashes <= np.partition(hashes, count - 1)[count - 1]
    return (everything, everything) if held_out.all() else (np.flatnonzero(~held_out), np.flatnonzero(held_out))
