"""CLIP from every source; ask for it at `weights`, the door. open_clip takes seconds to import, so functions do it."""

import os
from collections.abc import Callable
from pathlib import Path

from lightning_modules.errors import ImpastoError
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.weights.choice import Need, WeightsSource, resolve
from lightning_modules.weights.files import EMBEDDED, OTHERWISE, fill, reachable, read_config, read_state, seeded


def load_clip(weights: WeightsSource = "auto", *, model: str = "ViT-B-32") -> CLIPEncoder:
    """Return a frozen CLIP.

    Args:
        weights: Where its weights come from; ``hed`` has no CLIP and means ``embedded`` here.
        model: An architecture of open_clip for ``pretrained`` (OpenAI's weights) and ``random``; ``embedded`` has its
            own.

    Raises:
        ImpastoError: If the weights are not here and cannot be fetched.
    """
    found: dict[str, Callable[[], CLIPEncoder]] = {
        "pretrained": lambda: _pretrained_clip(model),
        "hed": _embedded_clip,
        "embedded": _embedded_clip,
        "random": lambda: _random_clip(model),
    }
    return found[resolve(weights, need_clip(model))]()


def need_clip(model: str = "ViT-B-32") -> Need:
    """Return what `load_clip` needs, for `resolve`."""
    return Need(f"CLIP {model}", lambda: _clip_present(model), lambda: read_state(_clip_file(model), "CLIP weights"))


def _clip_repo(model: str) -> str:
    import open_clip

    repo: str = open_clip.get_pretrained_cfg(model, "openai").get("hf_hub", "").rstrip("/")
    if not repo:
        raise ImpastoError(
            f"open_clip knows no weights by OpenAI for the model {model!r}: choose ViT-B-32, for example."
        )
    return repo


def _clip_present(model: str) -> bool:
    """Whether open_clip's own loader would find the file, asked without its minute of retries."""
    from huggingface_hub import try_to_load_from_cache

    repo = _clip_repo(model)
    names = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(repo, name), str) for name in names):
        return True
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}
    return not offline and reachable(f"https://huggingface.co/{repo}")


def _clip_file(model: str) -> Path:
    """Return OpenAI's file in the cache of huggingface_hub, which fetches it once for all processes of a machine."""
    import open_clip

    try:
        if not _clip_present(model):
            raise ConnectionError("huggingface.co does not answer")
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(model, "openai")))
    except (OSError, RuntimeError) as error:
        raise ImpastoError(
            f"OpenAI's CLIP {model} is not in the cache and cannot be fetched ({error}): run `hf download "
            f"{_clip_repo(model)}` where there is a network and copy its cache to HF_HOME, {OTHERWISE}."
        ) from error


def _pretrained_clip(model: str) -> CLIPEncoder:
    import open_clip

    path = _clip_file(model)
    try:
        # OpenAI trained with the quick GELU; open_clip's plain config of the same name does not have it.
        network = open_clip.create_model(model, pretrained=str(path), force_quick_gelu=True)
    except Exception as error:
        raise ImpastoError(
            f"{path} is not a whole file of OpenAI's CLIP {model} ({type(error).__name__}): delete it and fetch it "
            "again."
        ) from error
    return CLIPEncoder(network, open_clip.get_tokenizer(model), f"open_clip {model} openai")


def _embedded_clip() -> CLIPEncoder:
    import open_clip

    path = EMBEDDED / "clip.safetensors"
    config = read_config(path)
    network = open_clip.CLIP(**config["model_cfg"])
    fill(network, path)
    tokenizer = open_clip.SimpleTokenizer(
        bpe_path=str(path.parent / config["merges"]), context_length=config["model_cfg"]["text_cfg"]["context_length"]
    )
    return CLIPEncoder(network, tokenizer, "embedded").read_from(path)


def _random_clip(model: str) -> CLIPEncoder:
    import open_clip

    with seeded():
        network = open_clip.CLIP(**open_clip.get_model_config(model))
    return CLIPEncoder(network, open_clip.get_tokenizer(model), "random")
