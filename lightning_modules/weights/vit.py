"""Vision transformers for the stylistic predictor: timm's ViT-B/16 and ALADIN-ViT; ask for them at `weights`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.vit import ALADINViT, ViTEncoder, build_vit
from lightning_modules.weights.files import own_file, reachable, read_state, seeded

VIT = "vit_base_patch16_224"
VIT_REPO = "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k"
VIT_FILE = "model.safetensors"
ALADIN_FILE = "aladinVIT_bamfg_64.47.pt"
INSTEAD = "or set the model's content and its style to `vgg`, whose small weights are in the repository"
_ROOT = "enc_style."
_PARTS = {  # of a block: name in timm, name in ALADIN's file
    "norm1": "attention_norm",
    "norm2": "ffn_norm",
    "attn.proj": "attn.out",
    "mlp.fc1": "ffn.fc1",
    "mlp.fc2": "ffn.fc2",
}


def load_vit(weights: Literal["pretrained", "random"] = "pretrained") -> ViTEncoder:
    """Return a frozen ViT-B/16 at 224 pixels, trained on ImageNet-21k and ImageNet.

    Args:
        weights: ``pretrained`` looks in the cache of huggingface_hub (``HF_HOME``) and fetches; ``random`` is for
            tests.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched.
    """
    return _random_vit() if weights == "random" else _pretrained_vit()


def load_aladin(weights: Literal["pretrained", "random"] = "pretrained") -> ALADINViT:
    """Return a frozen ALADIN-ViT.

    Args:
        weights: ``pretrained`` reads ``aladinVIT_bamfg_64.47.pt`` from ``IMPASTO_WEIGHTS`` (by default
            ``~/.cache/impasto``), which no licence lets anybody bundle; ``random`` is for tests.

    Raises:
        ImpastoError: If the file is not there or holds something else.
    """
    return _random_aladin() if weights == "random" else _pretrained_aladin()


def _cached_vit() -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(VIT_REPO, VIT_FILE)
    return Path(path) if isinstance(path, str) else None


def _hub_answers() -> bool:
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}
    return not offline and reachable(f"https://huggingface.co/{VIT_REPO}")


def _vit_file() -> Path:
    path = _cached_vit()
    if path is not None:
        return path
    try:
        if not _hub_answers():
            raise ConnectionError("huggingface.co does not answer")
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(VIT_REPO, VIT_FILE))
    except (OSError, RuntimeError) as error:
        raise ImpastoError(
            f"The ViT-B/16 is not in the cache and cannot be fetched ({error}): run `hf download {VIT_REPO}` where "
            f"there is a network and copy its cache to HF_HOME, {INSTEAD}."
        ) from error


def _pretrained_vit() -> ViTEncoder:
    path = _vit_file()
    network = build_vit(VIT)
    state = {name: value for name, value in read_state(path, "ViT weights").items() if not name.startswith("head.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ImpastoError(f"{path} does not hold the ViT-B/16 of {VIT_REPO}: delete it and fetch it again.") from error
    return ViTEncoder(network, VIT_REPO)


def _random_vit() -> ViTEncoder:
    with seeded():
        return ViTEncoder(build_vit(VIT), "random")


def _aladin_file() -> Path:
    path = own_file(ALADIN_FILE)
    if not path.is_file():
        raise ImpastoError(
            f"The ALADIN weights are missing: download {ALADIN_FILE} from the releases of github.com/DanRuta/ALADIN "
            f"and put it at {path}, {INSTEAD}."
        )
    return path


def _pretrained_aladin() -> ALADINViT:
    path = _aladin_file()
    state = read_state(path, "ALADIN weights")
    network = _random_aladin(ALADIN_FILE)
    try:
        network.encoder.network.load_state_dict(_renamed(state))
        for name in ("fc1", "fc2"):
            layer = getattr(network, name)
            layer.load_state_dict({kind: state[f"{_ROOT}proj_head.{name}.{kind}"] for kind in ("weight", "bias")})
    except (KeyError, RuntimeError, AttributeError) as error:
        raise ImpastoError(f"{path} does not hold ALADIN-ViT's weights: delete it and fetch it again.") from error
    return network


def _random_aladin(source: str = "random") -> ALADINViT:
    with seeded():
        return ALADINViT(ViTEncoder(build_vit(VIT), source), source)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the transformer of ALADIN's file under timm's names."""
    embeddings, encoder = f"{_ROOT}transformer.embeddings.", f"{_ROOT}transformer.encoder."
    found = {"cls_token": state[f"{embeddings}cls_token"], "pos_embed": state[f"{embeddings}position_embeddings"]}
    depth = sum(name.startswith(f"{encoder}layer.") and name.endswith("attn.query.weight") for name in state)
    for kind in ("weight", "bias"):
        found[f"patch_embed.proj.{kind}"] = state[f"{embeddings}patch_embeddings.{kind}"]
        found[f"norm.{kind}"] = state[f"{encoder}encoder_norm.{kind}"]
        for number in range(depth):
            theirs, ours = f"{encoder}layer.{number}.", f"blocks.{number}."
            found |= {f"{ours}{name}.{kind}": state[f"{theirs}{other}.{kind}"] for name, other in _PARTS.items()}
            three = [state[f"{theirs}attn.{name}.{kind}"] for name in ("query", "key", "value")]
            found[f"{ours}attn.qkv.{kind}"] = torch.cat(three)
    return found
