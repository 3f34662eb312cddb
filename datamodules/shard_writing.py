"""From archive shards, as img2dataset writes them, to training shards: the pictures that are wanted, as they are."""

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.images import is_image_name
from datamodules.shard_files import CHUNKS, COLUMNS, PICTURES, arrow, chunk_table, encode_chunk
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing, write_atomically

CHUNK_BYTES = 64 * 2**20
_PARTS = "parts"  # one table for every archive shard that is done


class _Task(NamedTuple):
    """One archive shard, what to keep of it, and where its chunks go."""

    archive: Path
    out: Path
    kept: frozenset[str] | None
    group: str | None
    chunk_bytes: int

    @property
    def part(self) -> Path:
        return self.out / _PARTS / f"{self.archive.stem}.parquet"

    @property
    def fingerprint(self) -> str:
        """Return what changes with anything that the chunks depend on."""
        status = self.archive.stat()
        kept = "all" if self.kept is None else sorted(self.kept)
        known = [status.st_size, status.st_mtime_ns, kept, self.group, self.chunk_bytes]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def write_shards(
    archive: Path,
    out: Path,
    *,
    manifest: Path | None = None,
    group: str | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Path:
    """Write training shards of the pictures of an archive.

    Every archive shard becomes chunks of its own, so that what was interrupted goes on with the shards that are
    missing; the index, without which nobody reads the chunks, comes last.

    Args:
        archive: Folder of ``00000.tar``, ``00001.tar`` ... with ``00000.parquet`` beside them.
        out: Folder of the training shards.
        manifest: Parquet file with the columns ``key`` and ``kept``; without it all pictures are kept.
        group: Column of the archive's tables that names what belongs together, such as a project or an author.
        chunk_bytes: Most bytes of a chunk, unless one picture has more.
        workers: Archive shards at a time.
        progress: Called with the number of shards done, and of all.

    Returns:
        ``out``.

    Raises:
        ImpastoError: If there are no shards, one is damaged, or the manifest does not fit.
    """
    archives = sorted(archive.glob("*.tar"))
    if not archives:
        raise ImpastoError(f"No archive shards under {archive}: it should hold 00000.tar, 00001.tar and so on.")
    kept = None if manifest is None else _kept(manifest)
    tasks = [_Task(path, out, None if kept is None else kept.get(path.stem), group, chunk_bytes) for path in archives]
    if kept is not None:
        tasks = [task for task in tasks if task.kept]
        if strangers := sorted(kept.keys() - {path.stem for path in archives}):
            raise ImpastoError(f"{manifest} names {strangers[0]}.tar, which {archive} lacks: take its own archive.")
    (out / CHUNKS).unlink(missing_ok=True)  # what lies there is read again when all of it is of this run
    for done, _ in enumerate(_all(tasks, workers), 1):
        progress(done, len(tasks))
    _join(out, tasks, chunk_bytes)
    return out


def _kept(manifest: Path) -> dict[str, frozenset[str]]:
    """Return the keys to keep, by the name of their archive shard."""
    pa = arrow()
    try:
        table = pa.parquet.read_table(manifest, columns=["shard", "key", "kept"])
    except (OSError, pa.ArrowException) as error:
        raise ImpastoError(
            f"The manifest {manifest} cannot be read ({_line(error)}): give the Parquet file that `impasto curate` "
            "wrote."
        ) from error
    found: dict[str, set[str]] = {}
    for shard, key, kept in zip(*(table[name].to_pylist() for name in ("shard", "key", "kept")), strict=True):
        if kept:
            found.setdefault(Path(str(shard)).stem, set()).add(str(key))
    if not found:
        raise ImpastoError(f"The manifest {manifest} keeps no picture: lower its threshold.")
    return {shard: frozenset(keys) for shard, keys in found.items()}


def _all(tasks: list[_Task], workers: int) -> Iterator[None]:
    missing = [task for task in tasks if not _is_done(task)]
    yield from (None for _ in range(len(tasks) - len(missing)))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))  # reading, hashing and writing hold no lock of Python
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)  # an error ends the rest
        yield from (future.result() for future in as_completed([pool.submit(_write, task) for task in missing]))


def _is_done(task: _Task) -> bool:
    pa = arrow()
    try:
        schema = pa.parquet.read_schema(task.part)
    except (OSError, pa.ArrowException):
        return False
    known = json.loads((schema.metadata or {}).get(b"impasto", b"{}"))
    return bool(known.get("fingerprint") == task.fingerprint) and all(
        (task.out / name).is_file() and (task.out / name).stat().st_size == size for name, size, _ in known["chunks"]
    )


def _write(task: _Task) -> None:
    """Write one archive shard's chunks, and then its part of the index."""
    groups = _groups(task)
    rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    chunks: list[tuple[str, int, int]] = []
    for pictures in _chunked(_pictures(task), task.chunk_bytes):
        data, offsets = encode_chunk([picture for _, picture in pictures])
        name = f"{task.archive.stem}-{len(chunks):04d}.bin"
        write_atomically(task.out / name, data)
        for (key, picture), offset in zip(pictures, offsets, strict=True):
            group = groups.get(key)
            hashed = picture if group is None else group.encode()
            digest = int.from_bytes(hashlib.blake2b(hashed, digest_size=8).digest(), "little", signed=True)
            for column, value in zip(COLUMNS, (key, group, len(chunks), offset, len(picture), digest), strict=True):
                rows[column].append(value)
        chunks.append((name, len(data), len(pictures)))
    _save(rows, {"fingerprint": task.fingerprint, "chunks": chunks}, task.part)


def _pictures(task: _Task) -> Iterator[tuple[str, bytes]]:
    """Yield keys and bytes of the pictures to keep."""
    found = set()
    try:
        for key, picture in _members(task.archive, task.kept):
            found.add(key)
            yield key, picture
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImpastoError(
            f"The archive shard {task.archive} is damaged or truncated ({_line(error)}): delete it with its tables, "
            "and prepare the archive again."
        ) from error
    if lost := sorted((_stored(task) if task.kept is None else task.kept) - found):
        raise ImpastoError(
            f"{task.archive} lacks {len(lost)} pictures that its table or the manifest names, first {lost[0]}: delete "
            "it with its tables, prepare the archive again, and curate it again."
        )


def _members(archive: Path, kept: frozenset[str] | None) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            key = Path(member.name).stem
            file = tar.extractfile(member) if is_image_name(member.name) and (kept is None or key in kept) else None
            if file is not None:
                yield key, file.read()


def _stored(task: _Task) -> frozenset[str]:
    """Return the keys that an archive shard's table says it holds; none where there is no such table."""
    pa, path = arrow(), task.archive.with_suffix(".parquet")
    try:
        table = pa.parquet.read_table(path, columns=["key", "status"])
        keys, states = (table[name].to_pylist() for name in ("key", "status"))
    except (OSError, KeyError, pa.ArrowException):
        return frozenset()
    return frozenset(str(key) for key, state in zip(keys, states, strict=True) if state == "success")


def _groups(task: _Task) -> dict[str, str]:
    """Return the group of every key that has one."""
    if task.group is None:
        return {}
    pa, path = arrow(), task.archive.with_suffix(".parquet")
    try:
        table = pa.parquet.read_table(path, columns=["key", task.group])
        keys, names = (table[name].to_pylist() for name in ("key", task.group))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ImpastoError(f"{path} has no column {task.group} to group by ({_line(error)}): name another.") from error
    return {str(key): str(name) for key, name in zip(keys, names, strict=True) if name is not None}


def _chunked(pictures: Iterator[tuple[str, bytes]], chunk_bytes: int) -> Iterator[list[tuple[str, bytes]]]:
    held: list[tuple[str, bytes]] = []
    size = 8
    for key, picture in pictures:
        if held and size + len(picture) + 8 > chunk_bytes:
            yield held
            held, size = [], 8
        held.append((key, picture))
        size += len(picture) + 8
    if held:
        yield held


def _join(out: Path, tasks: list[_Task], chunk_bytes: int) -> None:
    """Write the index of all parts."""
    pa = arrow()
    chunks: list[tuple[str, int, int]] = []
    tables = []
    for task in tasks:
        table = pa.parquet.read_table(task.part)
        own = json.loads(table.schema.metadata[b"impasto"])["chunks"]
        place = table.schema.get_field_index("chunk")
        shifted = pa.compute.add(table["chunk"], pa.scalar(len(chunks), pa.int32()))
        tables.append(table.set_column(place, "chunk", shifted).replace_schema_metadata())
        chunks += [(name, size, count) for name, size, count in own]
    if not chunks:
        raise ImpastoError(f"Nothing was kept for {out}: the archive holds no picture that is wanted.")
    with replacing(out / PICTURES) as temporary:
        pa.parquet.write_table(pa.concat_tables(tables), temporary)
    write_atomically(out / CHUNKS, chunk_table(chunks, chunk_bytes))


def _save(rows: dict[str, list[Any]], known: dict[str, Any], path: Path) -> None:
    pa = arrow()
    kinds = (pa.string(), pa.string(), pa.int32(), pa.int64(), pa.int32(), pa.int64())
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)), metadata={"impasto": json.dumps(known)})
    with replacing(path) as temporary:
        pa.parquet.write_table(pa.table(rows, schema=schema), temporary)


def default_workers() -> int:
    """Return the number of archive shards at a time that a machine's cores can keep up with."""
    return min(8, os.cpu_count() or 1)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
