"""Trains the painters that ship by ``experiments/<method>/painter.yaml`` and exports what their runs leave behind."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor

from experiments.painting.inference import find_checkpoint, profile_of
from experiments.training import main
from lightning_modules.base import StyleTransferModule
from lightning_modules.checkpoints import load_checkpoint
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import signature_of
from lightning_modules.shipped import is_shipped, write_painter

PROFILE = "painter"
LARGEST, MEAN = 0.1, 0.5 / 255
"""How far pictures of a file of half precision may lie from the run's own: at any pixel, and in the mean."""


def train(method: str, runs: Path, *, seed: int, steps: int | None = None) -> Path:
    """Train a painter as `impasto fit` does, or go on where an earlier call was interrupted.

    Args:
        method: Whose profile.
        runs: Where runs live.
        seed: As of `impasto fit`; part of the run's name.
        steps: Iterations, instead of the profile's own number; the schedule shrinks along.

    Returns:
        The run's folder.
    """
    name = f"{PROFILE}-seed{seed}" + (f"-steps{steps}" if steps else "")
    folder = runs / method / name
    if (folder / "summary.json").is_file():
        print(f"{folder} is finished; remove it to train that painter again.")
        return folder
    resume = ["--ckpt_path", "last"] if (folder / "checkpoints" / "last.ckpt").is_file() else []
    how = ["--run_name", name, "--runs_dir", str(runs), "--seed_everything", str(seed)]
    shorter = ["--trainer.max_steps", str(steps), "--model.scheduler.init_args.total", str(steps)] if steps else []
    main(["fit", "--config", str(profile_of(method, PROFILE)), *how, *shorter, *resume])
    return folder


def export(source: Path, folder: Path, options: Sequence[str] = ()) -> dict[str, float]:
    """Write a run's painter as ``folder/<method>.safetensors``, and measure what was written.

    Args:
        source: The folder of a run, or a checkpoint.
        folder: Where to write.
        options: Of `impasto fit`, for the data and the metrics; by default those of the method's profile.

    Returns:
        The figures of its validation; ``half_mean`` and ``half_largest``, how far its pictures lie from the run's own;
        and what the run says about itself.

    Raises:
        ImpastoError: If half precision changes the pictures visibly; nothing is written then.
    """
    file = find_checkpoint(source)
    if is_shipped(file):
        raise ImpastoError(f"{file} ships already: export the run that it was made from.")
    whole = load_checkpoint(file)
    checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    signature = signature_of(checkpoint, str(file))
    signature["frozen"] |= whole.frozen_sources()  # a run of an earlier version may not know its networks' files
    method = signature["method"]
    words = options or ["--config", str(profile_of(method, PROFILE))]
    with TemporaryDirectory() as scratch:
        cli = main(["fit", *words, "--trainer.logger", "false", "--trainer.default_root_dir", scratch], run=False)
        rounded = Path(scratch) / f"{method}.safetensors"
        write_painter(checkpoint, rounded, without=whole.loss_parts, measured={})
        figures = _measure(whole, load_checkpoint(rounded), cli.datamodule, cli.trainer)
    figures |= {"steps": checkpoint["global_step"], **_records(file)}
    write_painter(checkpoint, folder / f"{method}.safetensors", without=whole.loss_parts, measured=figures)
    return figures


def _measure(
    whole: StyleTransferModule, rounded: StyleTransferModule, data: LightningDataModule, trainer: Trainer
) -> dict[str, float]:
    """Validate what ships, and compare its pictures with those of the checkpoint in single precision."""
    trainer.validate(rounded, datamodule=data, verbose=False)
    figures = {key: round(float(value), 4) for key, value in trainer.callback_metrics.items() if key.startswith("val/")}
    whole, rounded = whole.cpu().eval(), rounded.cpu().eval()
    away = torch.cat([_distances(whole, rounded, batch) for batch in data.val_dataloader()])
    largest, mean = float(away.max()), float(away.mean())
    if not (largest <= LARGEST and mean <= MEAN):
        raise ImpastoError(
            f"Half precision moves the pictures by {mean:.4f} in the mean and by {largest:.4f} at most, where "
            f"{MEAN:.4f} and {LARGEST} would do: nothing was written."
        )
    return {**figures, "half_mean": round(mean, 6), "half_largest": round(largest, 4)}


def _distances(whole: StyleTransferModule, rounded: StyleTransferModule, batch: Any) -> Tensor:
    one, other = (painter.validation_step(batch, 0)["stylized"] for painter in (whole, rounded))
    return (one - other).abs().flatten()


def _records(checkpoint: Path) -> dict[str, Any]:
    """Return what the run of a checkpoint says about itself."""
    summary = checkpoint.parent.parent / "summary.json"
    if not summary.is_file():
        return {}
    records = json.loads(summary.read_text(encoding="utf-8"))
    return {key: records[key] for key in ("seconds", "seed", "device", "commit")}
