"""Pictures in the rows of Parquet files, as the Hugging Face hub lays data sets out."""

import json
import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.records import Blocked, OpenFiles, Record
from datamodules.shard_files import arrow
from datamodules.sources import (
    Content,
    ContentSource,
    Painting,
    Split,
    StyleSource,
    artist_name,
    choose_artists,
    split_by_artist,
)
from datamodules.splits import checked_share, hold_out
from lightning_modules.errors import ImpastoError
from lightning_modules.paths import composed

_HELD = 128 * 2**20
_SPLITS: dict[str, Split] = {"train": "train", "validation": "val", "val": "val", "valid": "val", "test": "test"}


class _Row(NamedTuple):
    """A picture: its place, the file's name that its row has, its row group, and the name of its artist."""

    record: Record
    name: str
    group: int
    artist: str


class Parquet(ContentSource, StyleSource):
    """Parquet files with a column of pictures, such as ``huggan/wikiart``: contents, or paintings with their artists.

    Files whose names begin with ``train``, ``validation`` or ``test`` are those splits; of other files, and where the
    validation has none, a share of the training pictures is held out. Test pictures are those of validation where
    there are no others.

    A row group is read at a time, and as much of the newest as fits into 128 MiB is kept in every process: contents,
    which come row group by row group, are read once in a turn. Paintings are drawn by artist, wherever they lie: large
    collections train faster from a folder, or from shards.

    Args:
        root: Folder of ``*.parquet`` files, at any depth, or one such file.
        image: Column of the pictures: bytes, or a struct with a field ``bytes``, and ``path`` where they have names.
        artist: Column of the artists: names, or the numbers of a ``ClassLabel``.
        min_paintings: Leave out artists with fewer paintings.
        artists: Take only these; None takes all.
        holdout: Share held out where there are no validation files, in [0, 1), chosen by a hash of the names; of
            paintings, a share of every artist's.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        image: str = "image",
        artist: str = "artist",
        min_paintings: int = 1,
        artists: Sequence[str] | None = None,
        holdout: float = 0.02,
    ) -> None:
        self.root = Path(root)
        self.image = image
        self.artist = artist
        self.min_paintings = min_paintings
        self.artists = list(artists) if artists is not None else None
        self.holdout = checked_share(holdout)
        self._known: dict[tuple[Split, bool], list[_Row]] = {}

    def contents(self, split: Split) -> Blocked[Content]:
        """List the photographs of a split, in the order of the files."""
        own = self._rows(split, named=False)
        rows = own if own is not None else self._held_out(split)
        return Blocked([Content(row.record, row.name) for row in rows], [row.group for row in rows])

    def paintings(self, split: Split) -> list[Painting]:
        """List the paintings of a split, sorted by artist."""
        everyone = _by_artist(self._training(named=True))
        chosen = choose_artists(everyone, self.artists, self.min_paintings, self.root)
        if not chosen:
            raise ImpastoError(f"No artist in {self.root} has {self.min_paintings} paintings: lower min_paintings.")
        own = self._rows(split, named=True)
        if own is None:
            return split_by_artist(chosen, split, self.holdout if self._shares else 0.0)
        return split_by_artist({name: works for name, works in _by_artist(own).items() if name in chosen}, split, 0.0)

    @property
    def _shares(self) -> bool:
        """Whether validation is held out of the training files."""
        return "val" not in self._files and "test" not in self._files

    @property
    def _files(self) -> dict[Split, list[Path]]:
        if not self.root.exists():
            raise ImpastoError(f"{self.root} does not exist: check the path, or prepare the data first.")
        listed = sorted(self.root.rglob("*.parquet")) if self.root.is_dir() else [self.root]
        files: dict[Split, list[Path]] = {}
        for path in (path for path in listed if not path.name.startswith(".")):
            word = path.name.removesuffix(".parquet").split("-")[0]
            files.setdefault(_SPLITS.get(word, "train"), []).append(path)
        if "train" not in files:
            raise ImpastoError(f"No Parquet files of the training split under {self.root}: it should hold some.")
        return files

    def _held_out(self, split: Split) -> list[_Row]:
        """Return a split of the training files."""
        everything = self._training(named=False)
        if not self._shares:
            return everything
        kept, held = hold_out([Content(row.record, str(number)) for number, row in enumerate(everything)], self.holdout)
        return [everything[int(content.title)] for content in (kept if split == "train" else held)]

    def _training(self, *, named: bool) -> list[_Row]:
        rows = self._read("train", named=named)
        if not rows:
            raise ImpastoError(f"The Parquet files under {self.root} have no rows.")
        return rows

    def _rows(self, split: Split, *, named: bool) -> list[_Row] | None:
        """Return what the files of a split hold; None for a split that shares the training files."""
        if split == "train" or self._shares:
            return None
        other: Split = "test" if split == "val" else "val"
        return self._read(split if split in self._files else other, named=named) or None

    def _read(self, split: Split, *, named: bool) -> list[_Row]:
        if (split, named) not in self._known:
            reader = ParquetReader(self._files[split], self.image)
            artists = reader.column(self.artist) if named else [""] * len(reader)
            names = reader.names()
            rows = zip(range(len(reader)), names, reader.groups.tolist(), artists, strict=True)
            self._known[split, named] = [
                _Row(reader.record(number, name), _title(name), group, artist_name(artist))
                for number, name, group, artist in rows
            ]
        return self._known[split, named]


def _by_artist(rows: Sequence[_Row]) -> dict[str, list[Painting]]:
    grouped: dict[str, list[Painting]] = defaultdict(list)
    for row in rows:
        grouped[row.artist].append(Painting(row.record, row.artist, row.name))
    return grouped


class ParquetReader:
    """Reads the pictures of some Parquet files by number.

    Args:
        files: Their rows are numbered one file after the other.
        image: Column of the pictures.

    Raises:
        ImpastoError: If a file is damaged, or has no such column.

    Attributes:
        groups: The number of every row's row group among those of all files.
    """

    def __init__(self, files: Sequence[Path], image: str) -> None:
        self.files = list(files)
        self.image = image
        places = [
            (number, group, rows) for number, path in enumerate(self.files) for group, rows in _row_groups(path, image)
        ]
        self._places = [(number, group) for number, group, _ in places]
        sizes = np.array([rows for _, _, rows in places], dtype=np.int64)
        self._starts: NDArray[np.int64] = np.cumsum(sizes) - sizes
        self.groups: NDArray[np.int64] = np.repeat(np.arange(len(sizes)), sizes)
        self._clear()

    def __len__(self) -> int:
        return len(self.groups)

    def record(self, number: int, name: str) -> Record:
        """Return a picture's place."""
        return Record(self.files[self._places[self.groups[number]][0]], name, number, self)

    def read(self, number: int) -> bytes:
        """Return a picture's bytes.

        Raises:
            ImpastoError: If its row group is damaged.
        """
        group = int(self.groups[number])
        with self._lock:
            value = self._group(group)[number - int(self._starts[group])].as_py()
        return bytes(value or b"")

    def column(self, name: str) -> list[str]:
        """Return a column of words, or of the numbers of a Hugging Face ``ClassLabel`` as its words.

        Raises:
            ImpastoError: If there is none.
        """
        return [str(value) for path in self.files for value in _words(path, name)]

    def names(self) -> list[str]:
        """Return a name for every picture: that of the file that it was, or its row."""
        found: list[str] = []
        for path in self.files:
            file = _opened(path)
            table = _read(partial(file.read, columns=[f"{self.image}.path"], use_threads=False), path)
            own = table[self.image].to_pylist() if table.num_columns else [{}] * file.metadata.num_rows
            found += [(row or {}).get("path") or f"row {number}" for number, row in enumerate(own)]
        return found

    def _group(self, group: int) -> Any:
        """Return the bytes of a row group's pictures."""
        if self._owner != os.getpid():  # a worker opens its own files
            self._clear()
        if group not in self._held:
            number, own = self._places[group]
            path = self.files[number]
            file = self._open.get(number, partial(_opened, path))
            column = _bytes_column(file, self.image)
            table = _read(lambda: file.read_row_group(own, columns=[column], use_threads=False), path)
            pictures = table[self.image].combine_chunks()
            self._held[group] = pictures.field("bytes") if "." in column else pictures
            while len(self._held) > 1 and sum(held.nbytes for held in self._held.values()) > _HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(group)
        return self._held[group]

    def _clear(self) -> None:
        self._owner = os.getpid()
        self._open: OpenFiles[Any] = OpenFiles()  # what was read of a file stays mapped when it is closed
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_open", "_held", "_lock"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear()


def _row_groups(path: Path, image: str) -> list[tuple[int, int]]:
    """Return number and length of the row groups of a file."""
    file = _opened(path)
    _bytes_column(file, image)
    return [(group, file.metadata.row_group(group).num_rows) for group in range(file.metadata.num_row_groups)]


def _opened(path: Path) -> Any:
    pa = arrow()
    return _read(lambda: pa.parquet.ParquetFile(path, memory_map=True), path)


def _read(read: Callable[[], Any], path: Path) -> Any:
    try:
        return read()
    except (OSError, arrow().ArrowException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ImpastoError(f"The Parquet file {path} is damaged or truncated ({reason}): download it again.") from error


def _bytes_column(file: Any, image: str) -> str:
    """Return the path of the column that holds the pictures' bytes."""
    pa = arrow()
    kind = file.schema_arrow.field(image).type if image in file.schema_arrow.names else None
    if kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return image
    if kind is not None and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{image}.bytes"
    names = ", ".join(file.schema_arrow.names)
    raise ImpastoError(f"A Parquet file has no pictures in a column {image}, among {names}: set image.")


def _words(path: Path, name: str) -> list[Any]:
    file = _opened(path)
    if name not in file.schema_arrow.names:
        names = ", ".join(file.schema_arrow.names)
        raise ImpastoError(f"{path} has no column {name} of artists, among {names}: set artist.")
    values: list[Any] = _read(lambda: file.read(columns=[name], use_threads=False)[name].to_pylist(), path)
    described = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    labels = described.get("info", {}).get("features", {}).get(name, {}).get("names")
    if labels is None:
        return ["unknown" if value is None else value for value in values]
    return [labels[value] if value is not None and 0 <= value < len(labels) else "unknown" for value in values]


def _title(name: str) -> str:
    return composed(PurePosixPath(name).stem)
