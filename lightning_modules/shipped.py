"""Painters that ship: trained methods in ``assets/embedded``, which any command takes for ``embedded:NAME``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from lightning_modules import hub
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import CHECKPOINT_KEY, signature_of
from lightning_modules.networks.export import write_state
from lightning_modules.weights import EMBEDDED
from lightning_modules.weights.files import read_config

PREFIX = "embedded:"
TENSOR = "tensor"
"""The one key of the JSON object that stands for a tensor in state that is no tensor itself."""


def painters() -> list[str]:
    """Return the names of the painters that are there: a JSON file with a recipe makes one."""
    return sorted(path.stem for path in EMBEDDED.glob("*.json") if '"recipe":' in path.read_text("utf-8"))


def checkpoint_file(path: str | Path) -> Path:
    """Return the file of ``embedded:NAME`` or ``hf:USER/NAME``; any other path is itself.

    Raises:
        ImpastoError: If no painter has that name, or the hub does not give it.
    """
    if str(path).startswith(hub.PREFIX):
        return hub.fetch(str(path).removeprefix(hub.PREFIX))
    if not str(path).startswith(PREFIX):
        return Path(path)
    name, there = str(path).removeprefix(PREFIX), painters()
    if name not in there:
        known = (
            " and ".join(PREFIX + each for each in there) or "none, `make embedded-weights ARGS=painters` trains them"
        )
        raise ImpastoError(f"No painter that ships is called '{name}'; there is {known}.")
    return EMBEDDED / f"{name}.safetensors"


def is_shipped(path: Path) -> bool:
    """Whether a checkpoint is a painter's file rather than a run's."""
    return path.suffix == ".safetensors"


def write_painter(
    checkpoint: Mapping[str, Any],
    path: Path,
    *,
    without: Sequence[str] = (),
    measured: Mapping[str, Any],
    half: bool = True,
) -> None:
    """Write what painting needs of a run's checkpoint, and the JSON file that describes it.

    Args:
        checkpoint: Of a run, with signature and recipe.
        path: A file name that ends in ``.safetensors``.
        without: Trained parts of the module that painting does without.
        measured: Figures that belong to the weights.
        half: Whether weights are stored in half precision, else as they are.

    Raises:
        ImpastoError: If the checkpoint does not say how its model was configured.
    """
    signature = signature_of(checkpoint, "The checkpoint")
    if signature["recipe"] is None:
        raise ImpastoError("The checkpoint does not say how its model was configured: export one of `impasto fit`.")
    spared = tuple(f"{part}." for part in without)
    state = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith(spared or ("\0",))}
    tensors: dict[str, Tensor] = {}
    other = {name: _take_apart(value, name, tensors) for name, value in state.items() if not isinstance(value, Tensor)}
    tensors |= {name: value for name, value in state.items() if isinstance(value, Tensor)}
    config = {
        "method": signature["method"],
        "recipe": yaml.safe_load(signature["recipe"]),
        "frozen": signature["frozen"],
        "without": list(without),
        "state": other,
        "measured": dict(measured),
    }
    write_state(tensors, config, path, half=half)


def read_painter(path: Path) -> dict[str, Any]:
    """Return a painter's file in the form of a run's checkpoint.

    Its signature also names the parts ``without`` which it was written.

    Raises:
        ImpastoError: If a file is missing, not whole, or holds something else.
    """
    try:
        config = read_config(path)
        tensors = load_file(path)
    except ImpastoError:
        raise
    except Exception as error:
        raise _broken(path, type(error).__name__) from error
    if not {"method", "recipe", "frozen", "without", "state"} <= config.keys():
        raise _broken(path, "the JSON file beside it names no recipe")
    state = {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}
    try:
        other = {name: _put_together(value, state) for name, value in config["state"].items()}
    except KeyError as error:
        raise _broken(path, f"{error} is missing") from error
    return {
        "state_dict": {**state, **other},
        CHECKPOINT_KEY: {
            "method": config["method"],
            "recipe": yaml.safe_dump(config["recipe"], sort_keys=False),
            "frozen": config["frozen"],
            "without": tuple(f"{part}." for part in config["without"]),
        },
        "measured": config.get("measured", {}),
    }


def _broken(path: Path, reason: str) -> ImpastoError:
    return ImpastoError(
        f"{path} is not a whole painter ({reason}): restore it and its JSON file from where they come from, or make "
        "them again with `impasto export`, those that ship with `make embedded-weights ARGS=painters`."
    )


def _take_apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return the JSON form of a state that is no tensor, and put the tensors in it among the others."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, Mapping):
        return {key: _take_apart(each, f"{name}/{key}", tensors) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_take_apart(each, f"{name}/{number}", tensors) for number, each in enumerate(value)]
    return value


def _put_together(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `_take_apart`."""
    if isinstance(value, dict):
        if value.keys() == {TENSOR}:
            return tensors.pop(value[TENSOR])
        return {key: _put_together(each, tensors) for key, each in value.items()}
    return [_put_together(each, tensors) for each in value] if isinstance(value, list) else value
