"""Turning another code base's weights into one of our checkpoints, with an account of every tensor."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor

from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import build
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import CHECKPOINT_KEY


@dataclass
class Conversion:
    """A converted checkpoint and what happened on the way.

    Attributes:
        checkpoint: What `lightning_modules.checkpoints.load_checkpoint` reads.
        mapped: Our name of every tensor that was taken.
        missing: Our trained tensors that the file does not have.
        unexpected: Tensors of the file that we have no place for.
        misshaped: Our name, our shape and the file's shape of tensors that do not fit.
        broken: Our name of every tensor that holds NaN or infinite values.
        ignored: Tensors of frozen networks, which come from their own files.
        notes: Sentences on what was decided beyond names.
    """

    checkpoint: dict[str, Any] = field(default_factory=dict)
    mapped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every trained tensor found a sound counterpart."""
        return not (self.missing or self.misshaped or self.broken)

    def report(self) -> str:
        """Return the account in lines."""
        lines = [f"mapped {len(self.mapped)} tensors, ignored {len(self.ignored)} of frozen networks"]
        lines += [f"missing: {name}" for name in self.missing]
        lines += [f"unexpected: {name}" for name in self.unexpected]
        lines += [
            f"mis-shaped: {name} is {ours} here and {theirs} in the file" for name, ours, theirs in self.misshaped
        ]
        lines += [f"broken: {name} holds NaN or infinite values" for name in self.broken]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file of any code base, without running code from it.

    Raises:
        ImpastoError: If the file is missing, or is not a file of tensors.
    """
    if not path.is_file():
        raise ImpastoError(f"There is no file {path}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+) was not", str(error))
        raise ImpastoError(
            f"{path} cannot be read safely: it holds Python objects beside its weights"
            f"{f' ({found[1]})' if found else ''}, and to load them is to run their code. If you trust it, save its "
            "state dict alone, as in `torch.save(torch.load(path, weights_only=False)['state_dict'], 'weights.pth')`."
        ) from error
    except Exception as error:
        raise ImpastoError(f"{path} cannot be read safely as a file of weights ({type(error).__name__}).") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ImpastoError(f"{path} holds no weights.")
    return tensors


def convert_state(
    state: Mapping[str, Tensor],
    recipe: dict[str, Any],
    rename: Callable[[str], str | None],
    *,
    optional: tuple[str, ...] = (),
) -> Conversion:
    """Map a foreign state dict onto one of our modules.

    Args:
        state: The foreign tensors.
        recipe: ``class_path`` and ``init_args`` of our module, with the weights its user will load.
        rename: From a foreign name to ours; None for a frozen network's tensor; an unknown name maps to itself.
        optional: Prefixes of our tensors that only training needs and that keep their fresh values when missing.

    Returns:
        The conversion; its checkpoint holds a state dict only if it is `Conversion.complete`.
    """
    fresh = {**recipe, "init_args": {**recipe["init_args"], "weights": "random"}}
    module: StyleTransferModule = build(fresh)
    ours = module.state_dict()
    result = Conversion()
    converted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        target = rename(name)
        if target is None:
            result.ignored.append(name)
        elif target not in ours:
            result.unexpected.append(name)
        elif _fits(target, tensor, ours[target], result):
            converted[target] = tensor
            result.mapped.append(target)
    trained = {name for name, _ in module.named_parameters()}
    found = {*converted, *result.broken, *(name for name, _, _ in result.misshaped)}
    for name in ours:
        if name not in found and name in trained and not name.startswith(optional or ("\0",)):
            result.missing.append(name)
    if result.complete:
        result.checkpoint = {
            "state_dict": {**ours, **converted},
            CHECKPOINT_KEY: {"method": module.method, "recipe": yaml.safe_dump(recipe), "frozen": {}},
        }
    return result


def _fits(target: str, theirs: Tensor, ours: Tensor, result: Conversion) -> bool:
    """Say whether a tensor can take the place of ours, and note in the account why not."""
    if ours.shape != theirs.shape:
        result.misshaped.append((target, tuple(ours.shape), tuple(theirs.shape)))
    elif not bool(theirs.isfinite().all()):
        result.broken.append(target)
    else:
        return True
    return False
