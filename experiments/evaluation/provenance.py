"""What a table says of where its numbers come from: checkpoint, device, command."""

import argparse
import hashlib
import json
import platform
import shlex
from pathlib import Path

import torch

from experiments.evaluation.protocol import file_sha256
from experiments.painting.inference import find_checkpoint, profile_of, recipe_of

OPTIONS = (
    "checkpoint", "method", "protocol", "content", "style", "jobs", "limit", "condition", "weights", "classifier",
)  # fmt: skip
"""Those that a command is told by, where they are given."""


def configs_of(args: argparse.Namespace) -> list[Path]:
    """Return the YAML files of a method that needs no checkpoint.

    Raises:
        ImpastoError: If there is no such profile.
    """
    return args.config or ([] if args.method is None else [profile_of(args.method, args.profile)])


def checkpoint_identity(args: argparse.Namespace) -> dict[str, str]:
    """Return the path of what painted, and a hash: of the checkpoint's file, or of the method's settings.

    A checkpoint's ``path`` is as it was given, perhaps a folder or a link that moves on; ``file`` is what was read.
    """
    if args.checkpoint is not None:
        file = find_checkpoint(args.checkpoint).resolve()
        return {"path": str(args.checkpoint), "file": str(file), "sha256": file_sha256(file)}
    configs = configs_of(args)
    recipe = json.dumps(recipe_of(None, configs), sort_keys=True, default=str)
    return {"path": " ".join(map(str, configs)), "sha256": hashlib.sha256(recipe.encode()).hexdigest()}


def device_name(device: torch.device) -> str:
    """Return what a device is called: the model of a GPU or of a processor, where it is known."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"cpu, {model or platform.processor() or platform.machine()}"


def command_of(args: argparse.Namespace, out: Path) -> str:
    """Return the command that gives the same table."""
    words = ["impasto", "evaluate"]
    for name in OPTIONS:
        value = getattr(args, name)
        words += [] if value is None else [f"--{name}", str(value)]
    words += [word for path in args.config or () for word in ("--config", str(path))]
    words += ["--profile", args.profile] if args.method is not None else []
    words += ["--metrics", ",".join(args.metrics)] if args.metrics else []
    words += [word for control, value in args.controls for word in ("--set", f"{control}={value}")]
    return shlex.join([*words, "--device", args.device, "--out", str(out)])
