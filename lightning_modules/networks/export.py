"""Writes a trained network and the JSON file that describes it, each whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lightning_modules.files import replacing, write_atomically


def export(network: nn.Module, config: Mapping[str, Any], path: Path) -> None:
    """Write ``path`` (safetensors, half precision) and its JSON file, the JSON last.

    Args:
        network: Its floating-point state is stored as float16.
        config: What is needed to build the network again, and the figures measured on it.
        path: A file name that ends in ``.safetensors``.
    """
    write_state(network.state_dict(), config, path)


def write_state(state: Mapping[str, Tensor], config: Mapping[str, Any], path: Path, *, half: bool = True) -> None:
    """Do the same for tensors that are no whole network.

    Args:
        state: By name; floating-point ones are stored as float16 where that holds them, if ``half`` asks for it.
        config: As of `export`.
        path: As of `export`.
        half: Whether half precision is enough.
    """
    description = json.dumps(config, indent=2) + "\n"  # before anything is written: it may fail
    stored = {name: _stored(value) if half else value.detach().contiguous() for name, value in state.items()}
    with replacing(path) as temporary:
        save_file(stored, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
    write_atomically(path.with_suffix(".json"), description)


def _stored(value: Tensor) -> Tensor:
    """Return what a file keeps of a tensor: one with values beyond half precision's range stays what it is."""
    half = value.detach().half() if value.is_floating_point() else value
    return (half if bool(half.isfinite().all()) else value.detach()).contiguous()


def half_precision(network: nn.Module) -> None:
    """Round the weights to what a file keeps, so that measured figures are those of the file."""
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.half().float())
