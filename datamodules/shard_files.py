"""The files of a folder of shards: chunks in litdata's format, and an index that says where each picture lies in them.

A chunk is what litdata 0.2.76 writes for samples of plain bytes: the number of samples n, n + 1 offsets, and each
sample's length and bytes, all numbers being uint32. ``index.json`` is litdata's table of the chunks, so that its own
`StreamingDataset` reads the folder too; ``index.parquet`` has a row for every picture.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.errors import ImpastoError

CHUNKS, PICTURES = "index.json", "index.parquet"
COLUMNS = ("key", "group", "chunk", "offset", "size", "hash")
_LITDATA = {  # what litdata needs to know of samples that are plain bytes
    "compression": None,
    "chunk_size": None,
    "data_format": ["bytes"],
    "data_spec": '[1, {"type": null, "context": null, "children_spec": []}]',
    "encryption": None,
    "item_loader": "PyTreeLoader",
}


@dataclass(frozen=True)
class ShardIndex:
    """Where the pictures lie; arrays have one entry for each, in the order of the chunks.

    Attributes:
        names: Files of the chunks.
        bytes: Their sizes.
        keys: A name for every picture, an Arrow array of strings.
        groups: Names of groups, such as projects, an Arrow array of strings.
        group: Position in ``groups``; -1 for a picture without one.
        chunk: Position in ``names``.
        offset: Of the picture in its chunk.
        size: In bytes.
        hash: Equal for pictures that must not be parted by a split.
    """

    names: list[str]
    bytes: NDArray[np.int64]
    keys: Any
    groups: Any
    group: NDArray[np.int64]
    chunk: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    hash: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.chunk)


def encode_chunk(pictures: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """Return a chunk, and the offset of every picture in it."""
    first = 4 * (len(pictures) + 2)
    ends = first + np.cumsum([0, *(len(picture) + 4 for picture in pictures)])
    header = struct.pack(f"<I{len(ends)}I", len(pictures), *ends.tolist())
    data = b"".join(part for picture in pictures for part in (struct.pack("<I", len(picture)), picture))
    return header + data, (ends[:-1] + 4).tolist()


def chunk_table(chunks: Sequence[tuple[str, int, int]], chunk_bytes: int) -> str:
    """Return the text of ``index.json``.

    Args:
        chunks: Name, size in bytes and number of pictures of each.
        chunk_bytes: What each was to have at most.
    """
    listed = [{"chunk_bytes": size, "chunk_size": count, "dim": None, "filename": name} for name, size, count in chunks]
    return json.dumps({"chunks": listed, "config": _LITDATA | {"chunk_bytes": chunk_bytes}, "updated_at": "0"})


def arrow() -> Any:
    """Return pyarrow with its Parquet files.

    Raises:
        ImpastoError: If it is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.compute
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImpastoError("Parquet files and shards need pyarrow: pip install 'impasto[data]'.") from error
    return pa


def load_index(folder: Path, shown: str) -> ShardIndex:
    """Read the index of a folder of shards and check that its parts fit together.

    Args:
        folder: Where ``index.json`` and ``index.parquet`` are.
        shown: What messages call it.

    Raises:
        ImpastoError: If they are missing, damaged, or do not belong to each other.
    """
    if not (folder / CHUNKS).is_file() or not (folder / PICTURES).is_file():
        raise ImpastoError(f"{shown} has no {CHUNKS} and {PICTURES}: write shards with `impasto prepare shards`.")
    pa = arrow()
    try:
        chunks = json.loads((folder / CHUNKS).read_text(encoding="utf-8"))["chunks"]
        counts = [int(chunk["chunk_size"]) for chunk in chunks]
        sizes = np.array([int(chunk["chunk_bytes"]) for chunk in chunks], dtype=np.int64)
        names = [str(chunk["filename"]) for chunk in chunks]
        table = pa.parquet.read_table(folder / PICTURES, columns=list(COLUMNS), use_threads=False).combine_chunks()
        index = _index(names, sizes, table)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ImpastoError(f"The index of {shown} is damaged ({_line(error)}): write the shards again.") from error
    if not len(index):
        raise ImpastoError(f"{shown} holds no picture: write shards of an archive that has some.")
    if not _fits(index, counts):
        raise ImpastoError(
            f"{shown} has an {PICTURES} that does not belong to its {CHUNKS} ({len(index)} pictures and "
            f"{sum(counts)}): they come from two runs, write the shards again."
        )
    return index


def check_chunks(index: ShardIndex, folder: Path) -> None:
    """Look whether every chunk is there, and whole.

    Raises:
        ImpastoError: If one is not.
    """
    for name, size in zip(index.names, index.bytes.tolist(), strict=True):
        check_chunk(folder / name, size)


def check_chunk(path: Path, size: int) -> None:
    """Look whether a chunk is there, and whole.

    Raises:
        ImpastoError: If it is not.
    """
    if not path.is_file():
        raise ImpastoError(f"The shard {path} is missing: copy it again, or write the shards again.")
    found = path.stat().st_size
    if found != size:
        raise ImpastoError(
            f"The shard {path} is truncated or damaged ({found} bytes of {size}): copy it again, or write the shards "
            "again."
        )


def _index(names: list[str], sizes: NDArray[np.int64], table: Any) -> ShardIndex:
    group = table["group"].combine_chunks().dictionary_encode()
    if hasattr(group, "combine_chunks"):
        group = group.combine_chunks()
    numbers = {name: table[name].to_numpy().astype(np.int64) for name in ("chunk", "offset", "size", "hash")}
    codes = group.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    keys = table["key"].combine_chunks()
    return ShardIndex(names, sizes, keys, group.dictionary, codes, **numbers)


def _fits(index: ShardIndex, counts: list[int]) -> bool:
    if index.chunk.min() < 0 or index.chunk.max() >= len(counts) or np.any(np.diff(index.chunk) < 0):
        return False
    inside = (index.offset > 0) & (index.size >= 0) & (index.offset + index.size <= index.bytes[index.chunk])
    return bool(inside.all()) and np.bincount(index.chunk, minlength=len(counts)).tolist() == counts


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
