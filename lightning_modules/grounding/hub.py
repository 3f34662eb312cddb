"""Models of transformers by their id or folder: what is on this machine, how large the rest is, and loading."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from lightning_modules.errors import ImpastoError

INSTALL = "pip install 'impasto[regions]'"
_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


class Architecture(NamedTuple):
    """What a kind of model is good for, and its classes in transformers."""

    task: str
    model: str
    processor: str = "AutoProcessor"


ARCHITECTURES = {
    "sam": Architecture("sam", "SamModel", "SamProcessor"),
    "sam2": Architecture("sam", "Sam2Model", "Sam2Processor"),
    "sam2_video": Architecture("sam", "Sam2Model", "Sam2Processor"),
    "sam3": Architecture("sam3", "Sam3Model", "Sam3Processor"),
    "sam3_video": Architecture("sam3", "Sam3Model", "Sam3Processor"),
    "llava": Architecture("llava", "LlavaForConditionalGeneration"),
    "llava_next": Architecture("llava", "LlavaNextForConditionalGeneration"),
    "grounding-dino": Architecture("grounding-dino", "GroundingDinoForObjectDetection"),
    "mm-grounding-dino": Architecture("grounding-dino", "MMGroundingDinoForObjectDetection"),
    "clipseg": Architecture("clipseg", "CLIPSegForImageSegmentation"),
}
"""By the `model_type` of a model's configuration."""
KNOWN: dict[str, dict[str, float]] = {
    "llava": {
        "llava-hf/llava-v1.6-34b-hf": 69.5,
        "llava-hf/llava-v1.6-mistral-7b-hf": 15.1,
        "llava-hf/llava-1.5-7b-hf": 14.1,
    },
    "grounding-dino": {"IDEA-Research/grounding-dino-base": 0.9, "IDEA-Research/grounding-dino-tiny": 0.7},
    "clipseg": {"CIDAS/clipseg-rd64-refined": 0.6},
    "sam3": {"facebook/sam3": 3.4},
    "sam": {
        "facebook/sam-vit-huge": 2.6,
        "facebook/sam2.1-hiera-large": 0.9,
        "facebook/sam-vit-large": 1.2,
        "facebook/sam-vit-base": 0.4,
        "facebook/sam2.1-hiera-tiny": 0.2,
    },
}
"""Models of each task, the best first, with the gigabytes of their weights."""
RECOMMENDED = {
    "llava": "llava-hf/llava-v1.6-mistral-7b-hf",
    "grounding-dino": "IDEA-Research/grounding-dino-tiny",
    "clipseg": "CIDAS/clipseg-rd64-refined",
    "sam3": "facebook/sam3",
    "sam": "facebook/sam-vit-huge",
}
"""What to fetch where a task has no weights yet."""


class Loaded(NamedTuple):
    """A model and what prepares its input.

    Attributes:
        model: In evaluation mode, on its device.
        processor: Of transformers.
        kind: The `model_type`.
        name: Id or folder.
    """

    model: Any
    processor: Any
    kind: str
    name: str


def transformers_installed() -> bool:
    """Return whether transformers is there; nothing is imported, which would take seconds."""
    return find_spec("transformers") is not None


def kind_of(name: str) -> str | None:
    """Return the `model_type` of a model whose weights are on this machine; None where they are not.

    Args:
        name: A folder, or an id in the cache of Hugging Face (``HF_HOME``).
    """
    import json

    config = _file(name, "config.json")
    if config is None or not any(_file(name, weights) for weights in _FILES):
        return None
    found = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    return None if found is None else str(found)


def here(task: str) -> str | None:
    """Return the first model of a task in `KNOWN` whose weights are on this machine."""
    if not transformers_installed():
        return None
    return next((name for name in KNOWN[task] if kind_of(name) is not None), None)


def task_of(name: str) -> str | None:
    """Return what a model is good for: by its configuration where it is on this machine, else by `KNOWN`.

    Raises:
        ImpastoError: If it is of a kind that nothing here uses.
    """
    kind = kind_of(name)
    if kind is None:
        return next((task for task, models in KNOWN.items() if name in models), None)
    if kind not in ARCHITECTURES:
        raise ImpastoError(f"{name} is a model of kind '{kind}', and regions are found by {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[kind].task


def absent(name: str) -> ImpastoError:
    """Return the complaint that a model's weights are not on this machine."""
    size = next((models[name] for models in KNOWN.values() if name in models), None)
    weight = "" if size is None else f" (about {size:g} GB)"
    return ImpastoError(
        f"The weights of {name}{weight} are not on this machine: run `hf download {name}`, or add --download; "
        "--grounder auto takes what is there."
    )


def load(name: str, device: str = "cpu", download: bool = False) -> Loaded:
    """Load a model and its processor.

    Args:
        name: A folder, or an id.
        device: Where it runs; on CUDA in half precision.
        download: Fetch what is not on this machine.

    Raises:
        ImpastoError: If transformers or the weights are missing, or the model is of a kind that nothing here uses.
    """
    if not transformers_installed():
        raise ImpastoError(f"{name} needs transformers: {INSTALL}.")
    if kind_of(name) is None and (not download or Path(name).is_dir()):
        raise absent(name)
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # of reading a file; fetching shows its own
    kind = kind_of(name) or _read(name, lambda: str(transformers.AutoConfig.from_pretrained(name).model_type))
    task_of(name)
    architecture = ARCHITECTURES[kind]
    half = {"dtype": torch.float16} if device == "cuda" and architecture.task == "llava" else {}
    local = {"local_files_only": not download}
    processor = _read(name, lambda: getattr(transformers, architecture.processor).from_pretrained(name, **local))
    model = _read(name, lambda: getattr(transformers, architecture.model).from_pretrained(name, **local, **half))
    return Loaded(model.to(device).eval(), processor, kind, name)


def _read(name: str, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:  # of damaged files, readers complain in every way there is
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ImpastoError(
            f"{name} cannot be loaded ({reason.rstrip('.')}): fetch it anew, or choose another."
        ) from error


def _file(name: str, file: str) -> Path | None:
    if Path(name).is_dir():
        path = Path(name) / file
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, file)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
