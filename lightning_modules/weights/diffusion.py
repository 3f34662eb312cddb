"""Latent diffusion pipelines from every source; ask for them at `weights`, the door."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.diffusion_extra import demand_diffusion
from lightning_modules.networks.latent_diffusion import TINY, LatentDiffusion, Sampler, build_diffusion, pipeline_of
from lightning_modules.weights.choice import Need, WeightsSource, resolve
from lightning_modules.weights.files import EMBEDDED, OTHERWISE, fill, reachable, read_config, seeded

__all__ = ["LatentDiffusion", "Sampler", "load_diffusion", "need_diffusion", "pipeline_of"]

DEFAULT = "stable-diffusion-v1-5/stable-diffusion-v1-5"
EMBEDDED_FILE = "diffusion.safetensors"
INDEX = "model_index.json"
FILES = (
    INDEX,
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer_config.json",
    "scheduler/scheduler_config.json",
)
"""What a pipeline's folder must hold."""
TOKENS = ("tokenizer/tokenizer.json", "tokenizer/vocab.json", "tokenizer/merges.txt")
"""The tokenizer's vocabulary: the first, or the other two."""
KINDS = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
PREDICTIONS = ("epsilon", "v_prediction")
WHAT_FITS = "choose a Stable Diffusion 1.x or 2.x that draws from words, such as " + DEFAULT
SAMPLED_BYTES = 1 << 20


def load_diffusion(weights: WeightsSource = "auto", model: str = DEFAULT) -> LatentDiffusion:
    """Return a frozen latent diffusion pipeline by its parts.

    Args:
        weights: Where its weights come from; ``hed`` has no pipeline and means ``embedded`` here.
        model: For ``pretrained``: a folder as diffusers' ``save_pretrained`` writes it, or an id of the hub, whose
            files are looked for in ``HF_HOME`` and fetched where there is a network. Stable Diffusion 1.x and 2.x.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched, or are another kind of model's.
    """
    found: dict[str, Callable[[], LatentDiffusion]] = {
        "pretrained": lambda: _pretrained(model),
        "hed": _embedded,
        "embedded": _embedded,
        "random": _random,
    }
    return found[resolve(weights, need_diffusion(model))]()


def need_diffusion(model: str = DEFAULT) -> Need:
    """Return what `load_diffusion` needs, for `resolve`."""
    return Need(model, lambda: _present(model), lambda: _folder(model))


def _embedded() -> LatentDiffusion:
    path = EMBEDDED / EMBEDDED_FILE
    description = read_config(path)
    with seeded():  # the first weights are drawn, then overwritten
        parts = build_diffusion(description, "embedded")
    fill(parts, path)
    return parts.read_from(path)


def _random() -> LatentDiffusion:
    with seeded():
        return build_diffusion(TINY, "random")


def _present(model: str) -> bool:
    """Whether the files are on this machine, or the hub answers."""
    here = _here(model)
    if here is not None and not _missing(here):
        return True
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}
    return not (Path(model).is_dir() or offline) and reachable(f"https://huggingface.co/{model}")


def _here(model: str) -> Path | None:
    """Return the folder of a model on this machine, whole or not."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        index = try_to_load_from_cache(model, INDEX)
    except HFValidationError:
        return None
    return Path(index).parent if isinstance(index, str) else None


def _missing(folder: Path) -> list[str]:
    missing = [name for name in FILES if not (folder / name).is_file()]
    whole, *halves = TOKENS
    if not (folder / whole).is_file():
        missing += [name for name in halves if not (folder / name).is_file()]
    return missing


def _folder(model: str) -> Path:
    """Return the folder of a model with all files in it, fetched where they are missing.

    Raises:
        ImpastoError: If they are not here and cannot be fetched.
    """
    folder = _here(model)
    if folder is not None and not _missing(folder):
        return folder
    if folder is not None and Path(model).is_dir():
        raise ImpastoError(
            f"{model} lacks {', '.join(_missing(folder))}: name a folder that diffusers' save_pretrained wrote, "
            f"{OTHERWISE}."
        )
    return _fetched(model)


def _fetched(model: str) -> Path:
    from huggingface_hub import snapshot_download

    if not _present(model):
        raise _out_of_reach(model, "huggingface.co does not answer")
    try:
        return Path(snapshot_download(model, allow_patterns=[*FILES, *TOKENS]))
    except Exception as error:  # of networks and licences, the hub complains in many ways
        raise _out_of_reach(model, _reason(error)) from error


def _out_of_reach(model: str, reason: str) -> ImpastoError:
    return ImpastoError(
        f"The pipeline {model} is not in the cache and cannot be fetched ({reason}): run `hf download {model}` where "
        "there is a network and copy its cache to HF_HOME, or name a folder that holds "
        f"{', '.join(sorted({Path(name).parts[0] for name in FILES}))}, {OTHERWISE}."
    )


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")


def _pretrained(model: str) -> LatentDiffusion:
    demand_diffusion()
    folder = _folder(model)
    _check_kind(folder, model)
    try:
        parts = _read(folder, f"diffusers {model}")
    except ImpastoError:
        raise
    except Exception as error:  # of damaged files, readers complain in every way there is
        raise ImpastoError(
            f"The pipeline in {folder} cannot be read ({_reason(error)}): delete it and fetch it again."
        ) from error
    _check_fit(parts, model)
    parts.digest = _digest(folder)
    return parts


def _check_kind(folder: Path, model: str) -> None:
    """Refuse what no part of can be used, before gigabytes are read."""
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    kind, encoder = index.get("_class_name"), (index.get("text_encoder") or ["", ""])[-1]
    if kind not in KINDS:
        raise ImpastoError(f"{model} is a {kind}, which cannot be trained here: {WHAT_FITS}.")
    if encoder != "CLIPTextModel":
        raise ImpastoError(f"{model} reads words with {encoder or 'nothing'} instead of CLIP: {WHAT_FITS}.")


def _read(folder: Path, source: str) -> LatentDiffusion:
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    how = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    with seeded():  # what the files lack would be drawn
        vae, of_vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **how)
        unet, of_unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32, **how)
        text, of_text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32, **how)
    for name, found in (("vae", of_vae), ("unet", of_unet), ("text_encoder", of_text)):
        if found["missing_keys"]:
            raise ImpastoError(
                f"The {name} in {folder} lacks {len(found['missing_keys'])} of its tensors, such as "
                f"{sorted(found['missing_keys'])[0]}: delete it and fetch it again."
            )
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    scheduler = DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    return LatentDiffusion(vae, unet, text, tokenizer, scheduler, source)


def _check_fit(parts: LatentDiffusion, model: str) -> None:
    """Refuse parts that do not fit together, as those of pipelines that fill in or look at depths.

    Raises:
        ImpastoError: If they do not.
    """
    prediction, latent = parts.scheduler.config.prediction_type, parts.vae.config.latent_channels
    wanted, width = parts.unet.config.cross_attention_dim, parts.text_encoder.config.hidden_size
    if parts.unet.config.in_channels != latent:
        raise ImpastoError(
            f"The UNet of {model} reads {parts.unet.config.in_channels} channels, and its autoencoder makes {latent}: "
            f"{WHAT_FITS}."
        )
    if wanted != width:
        raise ImpastoError(
            f"The UNet of {model} reads words as {wanted} numbers, and its text encoder writes {width}: {WHAT_FITS}."
        )
    if prediction not in PREDICTIONS:
        raise ImpastoError(f"{model} predicts {prediction}, not {' or '.join(PREDICTIONS)}: {WHAT_FITS}.")


def _digest(folder: Path) -> str:
    """Return what tells a pipeline from another of the same name: of large files, size, beginning and end."""
    digest = sha256()
    for name in sorted({*FILES, *TOKENS}):
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size}".encode())
            with path.open("rb") as file:
                digest.update(file.read(SAMPLED_BYTES))
                file.seek(max(0, path.stat().st_size - SAMPLED_BYTES))
                digest.update(file.read())
    return digest.hexdigest()[:12]
