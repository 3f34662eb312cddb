"""The way back: from a checkpoint, or from a recipe alone, to a method that paints."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
import yaml
from jsonargparse import ArgumentParser

from lightning_modules.base import StyleTransferModule
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import Experiment, check_sources, signature_of
from lightning_modules.generation import GenerativeModule
from lightning_modules.shipped import checkpoint_file, is_shipped, read_painter

Kind = TypeVar("Kind", bound=Experiment)


def load_checkpoint(path: str | Path, device: str | torch.device = "cpu") -> StyleTransferModule:
    """Rebuild a trained method from a checkpoint alone.

    Args:
        path: A checkpoint that a run of this repo wrote, or ``embedded:NAME`` of a painter that ships.
        device: Where the module goes.

    Returns:
        The module in evaluation mode.

    Raises:
        ImpastoError: If the file is missing, unreadable, was not written by this repo, or holds another kind of method.
    """
    return _restored(path, device, StyleTransferModule)  # type: ignore[type-abstract]  # a base, not built itself


def load_generator(path: str | Path, device: str | torch.device = "cpu") -> GenerativeModule:
    """Rebuild a trained method that draws from words, as `load_checkpoint` does one that restyles pictures."""
    return _restored(path, device, GenerativeModule)  # type: ignore[type-abstract]


def load_experiment(path: str | Path, kind: type[Kind], device: str | torch.device = "cpu") -> Kind:
    """Rebuild what a folder of YAML has trained, of one kind; see `load_checkpoint`."""
    return _restored(path, device, kind)


def _restored(path: str | Path, device: str | torch.device, kind: type[Kind]) -> Kind:
    checkpoint, recipe = read_checkpoint(checkpoint_file(path))
    signature = signature_of(checkpoint, str(path))
    module = _built(recipe, kind)
    module.recipe = signature["recipe"]
    check_sources(signature, module.frozen_sources(), fit=False)
    module.load_state_dict(_spared(module, signature) | checkpoint["state_dict"])
    return module.to(device).eval()


class Start(NamedTuple):
    """What a fit begins with.

    Attributes:
        taken: Parts of the module that have a checkpoint's weights.
        fresh: Parts that the checkpoint lacks, and that begin anew.
        left: Parts of the checkpoint that the module lacks.
    """

    taken: list[str]
    fresh: list[str]
    left: list[str]


def start_from(module: Experiment, path: str | Path) -> Start:
    """Give a module that is about to be trained the weights of a checkpoint of the same method.

    A part (a direct child, such as ``generator``) is taken whole or not at all. Optimisers, schedules, counts and
    averages are not read: the fit is a new one.

    Args:
        module: Just built.
        path: A checkpoint of a run or of `impasto convert`, or ``embedded:NAME`` of a painter that ships.

    Raises:
        ImpastoError: If the file cannot be read, another method or other frozen networks made it, a part of it does not
            fit, or it has no part of the module.
    """
    checkpoint, _ = read_checkpoint(checkpoint_file(path))
    signature = signature_of(checkpoint, str(path))
    if signature["method"] != module.method:
        raise ImpastoError(f"{path} was written by {signature['method']}: a fit of {module.method} cannot start there.")
    check_sources(signature, module.frozen_sources(), fit=False)
    own, theirs = module.state_dict(), checkpoint["state_dict"]
    parts, there = _parts(own), _parts(theirs)
    taken = sorted(parts & there)
    if not taken:
        raise ImpastoError(f"{path} holds no part of this {type(module).__name__}: nothing to start from.")
    kept = {name: value for name, value in own.items() if _part(name) not in there}
    module.load_state_dict(kept | {name: value for name, value in theirs.items() if _part(name) in parts})
    return Start(taken, sorted(parts - there), sorted(there - parts))


def _parts(state: Mapping[str, Any]) -> set[str]:
    return {_part(name) for name in state}


def _part(name: str) -> str:
    return name.partition(".")[0]


def checkpoint_class(path: str | Path) -> type[Any]:
    """Return the class of the method that a checkpoint holds, without building it.

    Raises:
        ImpastoError: As of `load_checkpoint`, or if there is no such class any more.
    """
    return class_of(checkpoint_recipe(path))


def checkpoint_recipe(path: str | Path) -> dict[str, Any]:
    """Return how the method that a checkpoint holds was configured: ``{"class_path": ..., "init_args": {...}}``.

    Raises:
        ImpastoError: As of `load_checkpoint`.
    """
    return read_checkpoint(checkpoint_file(path))[1]


def class_of(recipe: Mapping[str, Any]) -> type[Any]:
    """Return the class that a recipe names.

    Raises:
        ImpastoError: If there is none of that name.
    """
    package, _, name = str(recipe.get("class_path")).rpartition(".")
    try:
        return cast(type[Any], getattr(importlib.import_module(package), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise ImpastoError(f"The model cannot be configured: there is no class {recipe.get('class_path')}.") from error


def build(recipe: Mapping[str, Any]) -> StyleTransferModule:
    """Instantiate a module from ``{"class_path": ..., "init_args": {...}}``.

    Raises:
        ImpastoError: If the recipe does not name a method, its arguments do not fit, or weights are missing.
    """
    return _built(recipe, StyleTransferModule)  # type: ignore[type-abstract]


def _built(recipe: Mapping[str, Any], kind: type[Kind]) -> Kind:
    found = class_of(recipe)
    if issubclass(found, Experiment) and not issubclass(found, kind):
        raise ImpastoError(_unfit(str(recipe["class_path"]), found, kind))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, "model", required=True)
    try:
        config = parser.parse_object({"model": dict(recipe)})
    except Exception as error:
        raise ImpastoError(f"The model cannot be configured: {str(error).strip().splitlines()[-1]}") from error
    try:
        return cast(Kind, parser.instantiate(config).model)
    except ValueError as error:
        # jsonargparse wraps what a constructor raises, such as missing weights, in pages of its own.
        if isinstance(error.__cause__, ImpastoError):
            raise error.__cause__ from None
        raise


def _unfit(path: str, found: type[Experiment], kind: type[Experiment]) -> str:
    if issubclass(found, GenerativeModule) and issubclass(kind, StyleTransferModule):
        return f"{path} draws from words and restyles no pictures: give it to `impasto stylize --prompt`."
    if issubclass(kind, GenerativeModule):
        return f"{path} draws nothing from words: choose a checkpoint of a method that does."
    if not issubclass(kind, StyleTransferModule):
        return f"{path} is no {kind.__name__}: choose a checkpoint of one."
    return f"{path} stylises nothing: choose a checkpoint of a method, such as runs/clast/latest."


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a checkpoint's file as it is, and the recipe in it.

    Raises:
        ImpastoError: As of `load_checkpoint`.
    """
    if is_shipped(path) and path.is_file() and not path.with_suffix(".json").is_file():
        raise ImpastoError(
            f"{path} is no checkpoint, but it may belong to one: give the .ckpt file or the run's folder."
        )
    checkpoint = read_painter(path) if is_shipped(path) else _read_run(path)
    signature = signature_of(checkpoint, str(path))
    if signature["recipe"] is None:
        raise ImpastoError(f"{path} does not say how its model was configured: it was not written by `impasto fit`.")
    return checkpoint, yaml.safe_load(signature["recipe"])


def _read_run(path: Path) -> Any:
    if not path.is_file():
        raise ImpastoError(f"There is no checkpoint at {path}: train one, as `make train-clast` does for CLAST.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ImpastoError(f"{path} is not a checkpoint that can be read safely ({type(error).__name__}).") from error


def _spared(module: Experiment, signature: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fresh state of the parts that a painter ships without."""
    without = signature.get("without")
    return {name: value for name, value in module.state_dict().items() if name.startswith(without)} if without else {}
