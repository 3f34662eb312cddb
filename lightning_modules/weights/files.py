"""Where files of weights lie, how they are fetched and read, and what is said about it; see `weights`, the door."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock
from safetensors.torch import load_file
from torch import nn

from lightning_modules.errors import ImpastoError

EMBEDDED = Path(__file__).resolve().parents[2] / "assets" / "embedded"
PROBE_SECONDS = 3.0
OTHERWISE = "or choose weights `embedded` where no checkpoint was trained with these"


def torchvision_path(url: str) -> Path:
    """Return where torch hub keeps the file of this address, whether it is there or not."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def file_present(url: str) -> Callable[[], bool]:
    """Return the question whether torch hub has this file or can fetch it."""
    return lambda: torchvision_path(url).is_file() or reachable(url)


@cache
def reachable(url: str) -> bool:
    """Whether the address answers at once; a slow network is worth a wait only where ``pretrained`` is asked for."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS):  # noqa: S310
            return True
    except (OSError, ValueError):
        return False


def torchvision_file(url: str) -> Path:
    """Return the file in torch hub's cache, fetched (and checked against the hash in its name) if it is not there yet.

    Of several processes that want it one fetches, and the others wait for it.

    Raises:
        ImpastoError: If it cannot be fetched, or is another file than its name says.
    """
    path = torchvision_path(url)
    if path.is_file():
        return path
    _, dash, prefix = path.stem.rpartition("-")
    try:
        with _one_at_a_time(path):
            if not path.is_file():  # somebody may have fetched it meanwhile
                torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix if dash else None, progress=False)
    except (OSError, RuntimeError) as error:
        raise ImpastoError(
            f"The pretrained weights {url} cannot be fetched ({error}): put the file at {path} yourself, {OTHERWISE}."
        ) from error
    return path


def _one_at_a_time(path: Path) -> FileLock:
    folder = path.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{path.name}.lock")


def own_file(name: str) -> Path:
    """Return the place of a file that has no address: in ``IMPASTO_WEIGHTS``, by default ``~/.cache/impasto``."""
    folder = os.environ.get("IMPASTO_WEIGHTS") or "~/.cache/impasto"
    return Path(folder).expanduser() / name


def read_state(path: Path, what: str) -> dict[str, Any]:
    """Read a file of tensors; nothing in it is executed.

    Args:
        path: The file.
        what: What it should hold, for the error message.

    Raises:
        ImpastoError: If it is damaged or holds more than plain tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return cast(dict[str, Any], torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise ImpastoError(
            f"{path} is not a whole file of {what} ({type(error).__name__}): delete it and fetch it again."
        ) from error


def read_config(path: Path) -> dict[str, Any]:
    """Return the JSON file that describes the network of a safetensors file of the same stem.

    Raises:
        ImpastoError: If either file is missing.
    """
    config = path.with_suffix(".json")
    if not (path.is_file() and config.is_file()):
        missing = config if path.is_file() else path
        raise ImpastoError(f"{missing} is missing: restore it from the repository or run `impasto embedded-weights`.")
    return cast(dict[str, Any], json.loads(config.read_text(encoding="utf-8")))


def fill(network: nn.Module, path: Path) -> None:
    """Load a safetensors file of half precision into a network.

    Raises:
        ImpastoError: If it holds another network.
    """
    try:
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})  # stored as fp16
    except Exception as error:
        raise ImpastoError(
            f"{path} does not hold the network that its JSON file describes ({type(error).__name__}): "
            "restore both from the repository or run `impasto embedded-weights`."
        ) from error


@contextmanager
def seeded() -> Iterator[None]:
    """Give new networks the same numbers every time, and the caller's own stream of numbers back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
