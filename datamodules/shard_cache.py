"""Chunks on object storage, fetched when they are first read and kept on a local disk, the newest used."""

import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from lightning_modules.errors import ImpastoError


def is_remote(root: str) -> bool:
    """Tell whether shards lie on object storage; ``local:`` stands for it in trials."""
    return "://" in root or root.startswith("local:")


class ChunkCache:
    """A folder that holds at most so many bytes of chunks; litdata fetches what is missing.

    Processes share it: one of them fetches a chunk, and one that reads a chunk which another removes keeps reading,
    because the file is open.

    Args:
        url: Where the chunks are: ``s3://``, ``gs://``, ``azure://``, ``hf://`` or ``r2://``.
        folder: Made where it is missing.
        limit: Bytes that it may hold; at least the chunk that is read stays.
    """

    def __init__(self, url: str, folder: Path, limit: int) -> None:
        self.url = url.rstrip("/")
        self.folder = folder
        self.limit = limit

    def fetch(self, name: str, size: int | None = None) -> Path:
        """Return the local copy of a file.

        Args:
            name: Of the file, below the URL.
            size: In bytes, where it is known; only files with one are ever removed.

        Raises:
            ImpastoError: If it cannot be fetched.
        """
        path = self.folder / name
        if self._is_there(path, size):
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{name}.lock"):
            if not self._is_there(path, size):  # another process may have fetched it meanwhile
                if size is not None:
                    self._make_room(size)
                self._download(name, path)
        return path

    def _is_there(self, path: Path, size: int | None) -> bool:
        with suppress(OSError):
            if size is None or path.stat().st_size == size:
                os.utime(path)  # the newest used
                return True
        return False

    def _make_room(self, size: int) -> None:
        kept = []
        for path in self.folder.glob("*.bin"):
            with suppress(OSError):  # another process was faster
                kept.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        held = sum(entry[1] for entry in kept)
        for _, bytes_, path in sorted(kept):
            if held + size <= self.limit:
                return
            path.unlink(missing_ok=True)
            held -= bytes_

    def _download(self, name: str, path: Path) -> None:
        partial = self.folder / f".{uuid.uuid4().hex}"
        try:
            _downloader(self.url, self.folder).download_file(f"{self.url}/{name}", str(partial))
            partial.replace(path)
        except Exception as error:  # every storage has its own kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ImpastoError(
                f"{self.url}/{name} cannot be fetched ({reason}): check the address and the account."
            ) from error
        finally:
            partial.unlink(missing_ok=True)


def _downloader(url: str, folder: Path) -> Any:
    try:
        from litdata.streaming.downloader import get_downloader
    except ImportError as error:
        raise ImpastoError("Shards on object storage need litdata: pip install 'impasto[data]'.") from error
    return get_downloader(url, str(folder), [])
