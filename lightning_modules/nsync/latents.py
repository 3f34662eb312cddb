"""Posteriors of an autoencoder on disk: every picture is encoded once, as it is and mirrored."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing
from lightning_modules.weights import LatentDiffusion
from lightning_modules.weights.choice import say_once

FORMAT = "1"  # of the files; another number is another file
BATCH = 4
SAMPLED = 64  # numbers of a tensor that tell it from another


class Pictures(Protocol):
    """What is encoded: `datamodules.triplets.TripletDataModule` has it."""

    @property
    def pictures(self) -> Sequence[Tensor]:
        """Pictures ``(3, S, S)``, RGB in [0, 1], all of one size."""

    @property
    def fingerprint(self) -> str:
        """A text that changes with any picture."""


class LatentCache:
    """Mean and deviation of every picture's posterior, read from a file as they are asked for.

    What is drawn from a posterior stays random: a step costs no encoder and loses nothing.

    Args:
        path: What `encode` wrote, ``(pictures, 2, 2, C, h, w)``: mirrored or not; mean and deviation.
    """

    def __init__(self, path: Path) -> None:
        self._rows = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._rows)

    def posteriors(self, picture: Tensor, flip: Tensor) -> Tensor:
        """Return posteriors ``(..., 2, C, h, w)``, float32, on the CPU.

        Args:
            picture: Numbers of pictures, any shape, int64, on the CPU.
            flip: Which are mirrored, of the same shape, bool.
        """
        return torch.from_numpy(np.array(self._rows[picture.numpy(), flip.long().numpy()]))


@torch.no_grad()
def posteriors_of(parts: LatentDiffusion, images: Tensor) -> Tensor:
    """Return mean and deviation of latents, before they are scaled.

    Args:
        parts: The pipeline.
        images: ``(B, 3, H, W)``, RGB in [0, 1], on its device.

    Returns:
        ``(B, 2, C, h, w)``, float32.
    """
    vae: Any = parts.vae
    posterior = vae.encode(images.to(vae.dtype) * 2 - 1).latent_dist
    return torch.stack([posterior.mean, posterior.std], 1).float()


def cached_posteriors(parts: LatentDiffusion, data: Pictures, device: torch.device) -> LatentCache:
    """Return the posteriors of a data module's pictures, encoded where no run has done it yet.

    The file is found by the autoencoder's weights and by the pictures; of several processes one writes it, under
    another name until it is whole.

    Args:
        parts: The pipeline.
        data: The pictures.
        device: Where to encode.

    Raises:
        ImpastoError: If the file cannot be written.
    """
    path = cache_folder() / _key(parts, data) / "posteriors.npy"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name("lock")):
            if not path.is_file():
                say_once(f"Encoding {len(data.pictures)} pictures once, for all runs, into {path}.")
                _remove_leftovers(path)
                encode(parts, data.pictures, path, device)
        return LatentCache(path)
    except OSError as error:
        raise ImpastoError(
            f"Latents cannot be kept in {path.parent} ({error.strerror or error}): set IMPASTO_CACHE to a folder that "
            "can be written, or model.cache_latents to false."
        ) from error


def cache_folder() -> Path:
    """Return where posteriors lie: in ``IMPASTO_CACHE``, by default ``~/.cache/impasto``, under ``latents``."""
    return Path(os.environ.get("IMPASTO_CACHE") or "~/.cache/impasto").expanduser() / "latents"


def encode(parts: LatentDiffusion, pictures: Sequence[Tensor], path: Path, device: torch.device) -> None:
    """Write the posteriors of pictures and of their mirror images.

    Args:
        parts: The pipeline; its autoencoder goes to the device.
        pictures: ``(3, S, S)`` each, RGB in [0, 1].
        path: Where to; it is there when it is whole.
        device: Where to encode.
    """
    parts.vae.to(device)
    with replacing(path) as temporary:
        rows: Any = None
        for start in range(0, len(pictures), BATCH):
            some = torch.stack([pictures[number] for number in range(start, min(start + BATCH, len(pictures)))])
            both = torch.stack([some, some.flip(-1)], 1).flatten(0, 1).to(device)
            found = posteriors_of(parts, both).unflatten(0, (-1, 2)).cpu().numpy()
            if rows is None:
                shape = (len(pictures), *found.shape[1:])
                rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            rows[start : start + len(found)] = found
        rows.flush()


def _key(parts: LatentDiffusion, data: Pictures) -> str:
    size = tuple(data.pictures[0].shape[-2:])
    words = (FORMAT, parts.signature, data.fingerprint, str(size), str(len(data.pictures)))
    digest = hashlib.sha256("\n".join(words).encode())
    for tensor in parts.vae.state_dict().values():  # a source may mean other weights in another version
        digest.update(tensor.flatten()[:SAMPLED].cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed has left: whoever holds the lock is the only writer."""
    for partial in path.parent.glob(f".*{path.suffix}"):
        partial.unlink()
