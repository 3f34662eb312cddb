"""Vectors of texts, kept on disk: a large CLIP reads the same 79 sentences for many seconds in every process."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_modules.files import replacing
from lightning_modules.losses.precision import without_autocast
from lightning_modules.networks.clip import CLIPEncoder

FORMAT = "1"  # of the files; another number is another file


def mean_vector(clip: CLIPEncoder, texts: Sequence[str]) -> Tensor:
    """Return the mean of CLIP's vectors of texts, ``(1, D)``, from disk where it is there.

    A file is found by the CLIP's source, its projection of texts and the texts. One that is damaged is made anew, and
    where none can be written nothing is kept.

    Args:
        clip: Reads them.
        texts: At least one.
    """
    path = _path(clip, texts)
    with suppress(OSError, SafetensorError, KeyError):
        kept = load_file(path)["mean"]
        if kept.shape == (1, clip.embed_dim) and bool(kept.isfinite().all()):
            return kept.to(clip.mean.device)
    with torch.no_grad(), without_autocast(clip.mean):
        mean = clip.encode_text(texts).mean(0, keepdim=True)
    with suppress(OSError, SafetensorError), replacing(path) as temporary:
        save_file({"mean": mean.cpu()}, temporary)
    return mean


def _path(clip: CLIPEncoder, texts: Sequence[str]) -> Path:
    folder = Path(os.environ.get("IMPASTO_CACHE") or "~/.cache/impasto/words").expanduser()
    projection = clip.model.text_projection.detach().cpu()
    digest = hashlib.sha256(repr((FORMAT, clip.signature, projection.dtype, list(texts))).encode())
    digest.update(projection.contiguous().view(torch.uint8).numpy().tobytes())
    return folder / f"words-{digest.hexdigest()[:32]}.safetensors"
