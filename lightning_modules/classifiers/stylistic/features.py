"""Features of pictures on disk: a round of annotation trains again in seconds, for no picture is looked at twice."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_modules.classifiers.stylistic.branches import identity_of, width_of
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing
from lightning_modules.networks.frozen import FrozenNetwork
from lightning_modules.weights.choice import say_once

BATCH = 16
KEPT = 256
"""Pictures of a file: what an interrupted run has computed, up to so many, is kept."""
HASH_BYTES = 32


class Pictures(Protocol):
    """What is looked at: `datamodules.annotations.AnnotationDataModule` has it."""

    @property
    def pictures(self) -> Sequence[Tensor | None]:
        """Pictures ``(3, S, S)``, RGB in [0, 1], all of one size; None where one cannot be read."""

    @property
    def hashes(self) -> Sequence[bytes]:
        """SHA-256 of every picture's file; two files with the same bytes are one picture."""


class FeatureCache:
    """Rows of one branch's features, found again by what a picture's file holds and by the branch's weights.

    A folder for every branch holds files that are only ever added: each is written whole under another name first, so
    any number of runs may read while one writes.

    Args:
        folder: Of this branch.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[bytes, Tensor] = {}
        self._seen: set[str] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._rows

    def read(self) -> None:
        """Read the files that have come since the last time; a damaged one is removed, its pictures come anew."""
        for path in sorted(self.folder.glob("[!.]*.safetensors")):
            if path.name in self._seen:
                continue
            try:
                held = load_file(path)
                keys, rows = held["hashes"], held["features"]
            except (OSError, KeyError, SafetensorError):
                path.unlink(missing_ok=True)
                continue
            self._seen.add(path.name)
            self._rows |= {bytes(key): row for key, row in zip(keys.numpy(), rows, strict=True)}

    def add(self, keys: Sequence[bytes], rows: Tensor) -> None:
        """Write rows ``(N, D)`` of as many pictures.

        Raises:
            OSError: If the folder cannot be written.
        """
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        hashes = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, HASH_BYTES)
        with replacing(path) as temporary:
            save_file({"hashes": hashes, "features": rows.float().cpu().contiguous()}, temporary)
            temporary.chmod(0o644)  # safetensors writes for the owner alone
        self._seen.add(path.name)
        self._rows |= dict(zip(keys, rows.float().cpu(), strict=True))

    def table(self, keys: Sequence[bytes], width: int) -> Tensor:
        """Return one row for every key, ``(N, width)``; nan where there is none."""
        missing = torch.full((width,), torch.nan)
        return torch.stack([self._rows.get(key, missing) for key in keys]) if keys else torch.empty(0, width)


def cached_features(name: str, branch: FrozenNetwork, data: Pictures, side: int, device: torch.device) -> Tensor:
    """Return a branch's features of all pictures, computed where no run has done it yet.

    Of several processes one computes, and the others wait for it.

    Args:
        name: Of the branch.
        branch: The network; it goes to the device.
        data: The pictures.
        side: Of the squares that the branch sees, in pixels.
        device: Where to compute.

    Returns:
        ``(pictures, D)``, float32, on the CPU; a row of nan for a picture that cannot be read.

    Raises:
        ImpastoError: If the features cannot be written.
    """
    cache = FeatureCache(cache_folder() / identity_of(name, branch, side))
    keys = list(data.hashes)
    width = width_of(branch, side)
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(cache.folder / "lock"):
            cache.read()
            wanted = {key: number for number, key in enumerate(keys) if key not in cache}
            if wanted:
                say_once(f"{name}: looking at {len(wanted)} new of {len(keys)} pictures, for this and all later runs.")
            _fill(cache, branch.to(device).eval(), data, wanted, device)
    except OSError as error:
        raise ImpastoError(
            f"Features cannot be kept in {cache.folder} ({error.strerror or error}): set IMPASTO_CACHE to a folder "
            "that can be written."
        ) from error
    return cache.table(keys, width)


def cache_folder() -> Path:
    """Return where features lie: in ``IMPASTO_CACHE``, by default ``~/.cache/impasto``, under ``stylistic``."""
    return Path(os.environ.get("IMPASTO_CACHE") or "~/.cache/impasto").expanduser() / "stylistic"


@torch.no_grad()
def _fill(
    cache: FeatureCache,
    branch: FrozenNetwork,
    data: Pictures,
    wanted: dict[bytes, int],
    device: torch.device,
) -> None:
    keys: list[bytes] = []
    rows: list[Tensor] = []
    batch: list[Tensor] = []
    pictures = data.pictures  # made anew whenever it is asked for
    for key, number in wanted.items():
        picture = pictures[number]
        if picture is not None:
            keys.append(key)
            batch.append(picture)
        if len(batch) == BATCH:
            rows.append(branch(torch.stack(batch).to(device)).cpu())
            batch = []
        if len(keys) >= KEPT and not batch:
            cache.add(keys, torch.cat(rows))
            keys, rows = [], []
    if batch:
        rows.append(branch(torch.stack(batch).to(device)).cpu())
    if keys:
        cache.add(keys, torch.cat(rows))
