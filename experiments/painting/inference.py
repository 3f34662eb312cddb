"""What `impasto stylize` and `impasto demo` share: a model from a checkpoint or a run, a device, pictures that fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from experiments.failures import is_out_of_memory
from experiments.profiles import base_of
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import checkpoint_class, checkpoint_recipe, load_checkpoint, load_generator
from lightning_modules.conditions import resized, shrink
from lightning_modules.controls import Value
from lightning_modules.errors import ImpastoError
from lightning_modules.generation import GenerativeModule
from lightning_modules.paths import slug
from lightning_modules.prompts import styled
from lightning_modules.shipped import PREFIX, checkpoint_file, painters

FOLDER = Path(__file__).resolve().parents[1]
DEVICES = ("auto", "cpu", "cuda", "mps")
BESIDE_PROFILES = {"published", "sweep"}
"""YAML files in a folder of profiles that are none."""
REDRAWN = 0.6
"""How much of a content is redrawn where nobody says: what it shows stays, how it is drawn does not."""


class TooLargeError(ImpastoError):
    """A picture or a batch of frames for which the memory does not suffice; others may fit."""


def choose_device(name: str) -> torch.device:
    """Return the device of that name; auto prefers CUDA, then Apple's MPS.

    Raises:
        ImpastoError: If this machine does not have it.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in present.items() if available)
    if not present[name]:
        raise ImpastoError(f"This machine has no usable {name} device; --device auto takes what is there.")
    return torch.device(name)


def find_checkpoint(path: Path) -> Path:
    """Return the best, else the last checkpoint of a run's folder; of a name, as `checkpoint_file` does; or ``path``.

    Raises:
        ImpastoError: If the folder holds no checkpoint, or no painter that ships has that name.
    """
    if not path.is_dir():
        return checkpoint_file(path)
    candidates = [path / folder / f"{name}.ckpt" for name in ("best", "last") for folder in ("checkpoints", ".")]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise ImpastoError(f"There is no checkpoint in {path}.")
    return found


def load_model(path: Path, device: str) -> StyleTransferModule:
    """Load a method that restyles pictures for inference.

    Args:
        path: As of `find_checkpoint`.
        device: One of `DEVICES`.
    """
    return load_checkpoint(find_checkpoint(path), choose_device(device))


def load_drawing_model(path: Path, device: str) -> GenerativeModule:
    """Load a method that draws from words; see `load_model`."""
    return load_generator(find_checkpoint(path), choose_device(device))


def open_model(path: Path, device: str) -> StyleTransferModule | GenerativeModule:
    """Load a method of either kind; see `load_model`."""
    draws = issubclass(checkpoint_class(find_checkpoint(path)), GenerativeModule)
    return load_drawing_model(path, device) if draws else load_model(path, device)


def recipe_of(checkpoint: Path | None, configs: Sequence[Path]) -> dict[str, Any]:
    """Return how a method is configured, ``{"class_path": ..., "init_args": {...}}``, without building it.

    Args:
        checkpoint: As of `find_checkpoint`; None where there are YAML files instead.
        configs: The YAML files, one laid on the other, the first perhaps on the tiny profile.

    Raises:
        ImpastoError: If the checkpoint cannot be read.
    """
    if checkpoint is not None:
        return checkpoint_recipe(find_checkpoint(checkpoint))
    recipe: dict[str, Any] = {}
    base = base_of(configs[0]) if configs else None
    for path in [base, *configs] if base else configs:
        model = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("model", {})
        recipe = recipe | model | {"init_args": recipe.get("init_args", {}) | (model.get("init_args") or {})}
    return recipe


def load_untrained(configs: Sequence[Path], device: str) -> StyleTransferModule:
    """Build a method that needs no training from the YAML files of its experiment.

    Args:
        configs: As `impasto fit --config` takes them, one after the other.
        device: One of `DEVICES`.

    Raises:
        ImpastoError: If the method learns from a training set, or stylises nothing.
    """
    from experiments.training import main  # LightningCLI, which a checkpoint does not need

    files = [word for path in configs for word in ("--config", str(path))]
    model = main(["fit", *files, "--trainer.logger", "false"], run=False).model
    name = type(model).__name__
    if model.trains:
        ships = f", or take --checkpoint {PREFIX}{model.method}" if model.method in painters() else ""
        raise ImpastoError(
            f"{name} must be trained first: run `make train-{model.method}`, then give --checkpoint{ships}."
        )
    if not isinstance(model, StyleTransferModule):
        raise ImpastoError(f"{name} restyles no pictures: choose a method that does.")
    return model.to(choose_device(device)).eval()


def open_any(checkpoint: Path | None, configs: Sequence[Path], device: str) -> StyleTransferModule | GenerativeModule:
    """Load a method of either kind from a checkpoint, or from YAML files where there is none; see `recipe_of`."""
    return open_model(checkpoint, device) if checkpoint is not None else load_untrained(configs, device)


def profile_of(method: str, profile: str) -> Path:
    """Return the YAML file of a method's profile.

    Raises:
        ImpastoError: If there is none.
    """
    path = FOLDER / method / f"{profile}.yaml"
    if not path.is_file() or profile in BESIDE_PROFILES:
        known = sorted({found.stem for found in path.parent.glob("*.yaml")} - BESIDE_PROFILES)
        methods = sorted(found.parent.name for found in FOLDER.glob("*/tiny.yaml"))
        there = f"it has {', '.join(known)}" if known else f"there is no such method, only {', '.join(methods)}"
        raise ImpastoError(f"{method} has no profile '{profile}': {there}.")
    return path


def fit_within(image: Tensor, max_side: int | None) -> Tensor:
    """Shrink ``(3, H, W)`` so that no side is longer than ``max_side`` pixels; smaller pictures stay as they are."""
    return image if max_side is None else shrink(image[None], max_side)[0]


def paint(
    model: StyleTransferModule,
    content: Tensor,
    *,
    style: Tensor | None = None,
    prompt: str | None = None,
    mask: Tensor | None = None,
    alpha: float | None = None,
    controls: Mapping[str, Value] | None = None,
    seed: int = 0,
) -> Tensor:
    """Stylize one picture, the same way whatever was painted before.

    Args:
        model: The method.
        content: ``(3, H, W)``, RGB in [0, 1].
        style: ``(3, h, w)``, RGB in [0, 1].
        prompt: Text, instead of a style image.
        mask: ``(1, H, W)`` in [0, 1]: where to paint.
        alpha: Strength; 1 is the trained one, None the one that the method was configured with.
        controls: Values of the method's inference controls.
        seed: Of the random numbers that a method may draw.

    Returns:
        ``(3, H, W)`` on the CPU, RGB in [0, 1].

    Raises:
        ImpastoError: If the condition does not fit the method, or the picture does not fit into memory.
    """
    torch.manual_seed(seed)
    on_device = content[None].to(model.device)
    condition = None if style is None else style[None].to(model.device)
    region = None if mask is None else mask[None].to(model.device)
    try:
        painted = model.stylize(on_device, style=condition, prompt=prompt, mask=region, alpha=alpha, controls=controls)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = content.shape[-2:]
        raise TooLargeError(
            f"{width} x {height} pixels do not fit into memory; shrink with --max-side 1024"
            + (", or paint in smaller tiles with --tile 256." if model.tiles else ".")
        ) from error
    return painted[0].cpu()


def draw(
    model: GenerativeModule,
    prompt: str,
    *,
    seeds: Sequence[int],
    size: tuple[int, int] | None = None,
    content: Tensor | None = None,
    strength: float = REDRAWN,
    controls: Mapping[str, Value] | None = None,
) -> Tensor:
    """Draw one picture for every seed, from words alone, or from a content, which may have any size.

    Args:
        model: The method.
        prompt: What to draw.
        seeds: Of the pictures.
        size: Height and width in pixels; by default the content's, else those that the method validates with.
        content: ``(3, H, W)``, RGB in [0, 1]: a picture to start from. It is redrawn at the next multiples of the
            method's stride, and the drawing is brought to the size that was asked for.
        strength: How much of the content is redrawn: 0 nothing, 1 all.
        controls: Values of the method's inference controls.

    Returns:
        ``(N, 3, H, W)`` on the CPU, RGB in [0, 1].

    Raises:
        ImpastoError: If something does not fit the method, or the pictures do not fit into memory.
    """
    texts = [prompt] * len(seeds)
    settings: dict[str, Any] = {"seed": list(seeds), "controls": controls}
    if content is None:
        height, width = at = size or model.validate_size
    else:
        height, width = size or (content.shape[-2], content.shape[-1])
        at = (_next_multiple(height, model.stride), _next_multiple(width, model.stride))
        start = resized(content[None], at).expand(len(seeds), -1, -1, -1)
        settings |= {"content": start.to(model.device), "strength": strength}
    try:
        drawn = model.generate(texts, size=at, **settings)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise TooLargeError(
            f"{len(seeds)} pictures of {at[1]} x {at[0]} pixels do not fit into memory: draw them one by one with "
            "--batch 1, or smaller with --size."
        ) from error
    return resized(drawn, (height, width)).cpu()


def prompt_in_style(model: GenerativeModule, artist: str | None, caption: str = "a picture") -> str:
    """Return the prompt of a picture in an artist's style: by the placeholder that was learnt for him, else his name.

    Args:
        model: The method; of an artist whom it has not learnt its pipeline knows what the name says to it.
        artist: His name; None takes the one style that the method has learnt.
        caption: What is to be seen.

    Raises:
        ImpastoError: If nobody says which style.

    Examples:
        >>> class Learnt:
        ...     def adapter_state(self):
        ...         return {"<ada-stipple>": {}}
        >>> prompt_in_style(Learnt(), "Ada Stipple"), prompt_in_style(Learnt(), "Claude Monet", "a pond")
        ('a picture in the style of <ada-stipple>', 'a pond in the style of Claude Monet')
    """
    learnt = {slug(placeholder): placeholder for placeholder in model.adapter_state()}
    if artist is None and len(learnt) != 1:
        raise ImpastoError(
            f"{type(model).__name__} has learnt {len(learnt)} styles, and nothing says which one to draw."
        )
    return styled(caption, next(iter(learnt.values())) if artist is None else learnt.get(slug(artist), artist))


def _next_multiple(side: int, stride: int) -> int:
    return -(-side // stride) * stride
