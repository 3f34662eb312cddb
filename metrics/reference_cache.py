"""Features of reference sets on disk, for a folder of paintings is scored against many times."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing
from metrics.extractors import fingerprint
from metrics.functional.pictures import as_pictures
from metrics.functional.precision import full_precision
from metrics.functional.unique import picture_numbers

FORMAT = "2"  # of the files; another number is another file


NUMBERS = "picture numbers"  # beside the taps in a file


class ReferenceRows(NamedTuple):
    """What is known of a reference set, one row for every file.

    Attributes:
        features: For every tap ``(n, D)``, float32, on the CPU.
        numbers: ``(n,)``, int64, the same where two files hold the same picture.
    """

    features: dict[str, Tensor]
    numbers: Tensor


def content_hash(files: Sequence[Path]) -> str:
    """Return a hash of what files hold, in this order; neither their names nor their dates matter.

    Raises:
        ImpastoError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise ImpastoError(f"{path} cannot be read ({error.strerror}): check the reference folder.") from error
    return digest.hexdigest()


class ReferenceCache:
    """Rows of features of reference sets, one file for every set, extractor and choice of taps.

    A file is found again by what the pictures hold and by the extractor's weights and preprocessing, so a picture that
    was added, retouched or put elsewhere in the order, other weights, or another front end give another file. Damaged
    files are made anew.

    Args:
        folder: Where the files lie; by default ``IMPASTO_CACHE``, else ``~/.cache/impasto/references``.
    """

    def __init__(self, folder: Path | None = None) -> None:
        default = os.environ.get("IMPASTO_CACHE") or "~/.cache/impasto/references"
        self.folder = Path(default).expanduser() if folder is None else folder

    def path(self, files: Sequence[Path], extractor: nn.Module, taps: Sequence[str]) -> Path:
        """Return the file of a set, whether it exists or not; arguments as for `rows`."""
        parts = (FORMAT, content_hash(files), fingerprint(extractor), *sorted(taps))
        return self.folder / f"{hashlib.sha256(' '.join(parts).encode()).hexdigest()}.safetensors"

    def rows(
        self, files: Sequence[Path], extractor: nn.Module, taps: Sequence[str], read: Callable[[Path], Tensor]
    ) -> ReferenceRows:
        """Return the features of a set, from disk where they are there.

        Args:
            files: The pictures, in the order of the rows.
            extractor: See `metrics.base.Extractor`; on the device where it is to run.
            taps: Those that give vectors, such as ``pool3``.
            read: Path to picture ``(1, 3, H, W)``, RGB, float in [0, 1] or uint8.

        Returns:
            What `metrics.set_distance.SetMetric.update_features` takes.

        Raises:
            ImpastoError: If there is no picture, one cannot be read, or a tap gives maps.
        """
        if not files:
            raise ImpastoError("The reference set is empty: give a folder with pictures.")
        path = self.path(files, extractor, taps)
        found = _load(path)
        if found is None or set(found) != {*taps, NUMBERS}:
            found = _extract(files, extractor, taps, read)
            self._save(found, path)
        return ReferenceRows({tap: found[tap] for tap in taps}, found[NUMBERS])

    def _save(self, rows: dict[str, Tensor], path: Path) -> None:
        try:
            with replacing(path) as temporary:
                save_file(rows, temporary)
        except (OSError, SafetensorError) as error:
            raise ImpastoError(
                f"The reference features cannot be kept in {self.folder} ({error}): set IMPASTO_CACHE to a folder "
                "that can be written."
            ) from error


def _load(path: Path) -> dict[str, Tensor] | None:
    try:
        found: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError):
        return None
    return found


def _extract(
    files: Sequence[Path], extractor: nn.Module, taps: Sequence[str], read: Callable[[Path], Tensor]
) -> dict[str, Tensor]:
    device = next((parameter.device for parameter in extractor.parameters()), torch.device("cpu"))
    rows: dict[str, list[Tensor]] = {name: [] for name in (*taps, NUMBERS)}
    for path in files:
        with full_precision(device):
            pictures = as_pictures(read(path).to(device), "reference")
            features = extractor(pictures, tuple(taps))
        maps = [tap for tap in taps if features[tap].ndim != 2]
        if maps:
            raise ImpastoError(f"The features {maps[0]} are maps: only vectors of a reference set are kept.")
        for tap in taps:
            rows[tap].append(features[tap].float().cpu())
        rows[NUMBERS].append(picture_numbers(pictures))
    return {tap: torch.cat(parts) for tap, parts in rows.items()}
