"""OtherRuns: what other runs of a method draw, beside its own in the grid of a validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from callbacks.other_weights import other_weights
from callbacks.stylization_grid import StylizationGrid
from lightning_modules.errors import ImpastoError


class OtherRuns(Callback):
    """Add a column to `StylizationGrid` for every other run, such as one that learnt by plain textual inversion.

    The other run's weights draw the same prompts from the same noise, so that what differs is what was learnt. They do
    not change, so every sample is drawn once in a fit. Nothing of the training is touched.

    Args:
        runs: From the column's title to a run's folder (its last checkpoint counts), or to a checkpoint.
    """

    def __init__(self, runs: Mapping[str, Path]) -> None:
        self.runs = dict(runs)
        self._states: dict[str, Mapping[str, Any]] = {}
        self._drawn: dict[str, dict[int, Tensor]] = {title: {} for title in runs}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Read the checkpoints.

        Raises:
            ImpastoError: If one is missing or damaged, or of another method or pipeline.
        """
        if not hasattr(pl_module, "validation_pictures"):
            raise ImpastoError(f"{type(pl_module).__name__} does not draw from words: drop OtherRuns.")
        for title, path in self.runs.items():
            checkpoint = _read(path)
            pl_module.on_load_checkpoint(checkpoint)  # refuses what is not its own
            with other_weights(pl_module, checkpoint["state_dict"]):
                self._states[title] = checkpoint["state_dict"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the grid is going to show."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        for grid in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(grid, StylizationGrid):
                for title, state in self._states.items():
                    drawn = self._drawn[title]
                    missing = {row.index: row.prompt for row in grid.chosen if row.index not in drawn}
                    drawn |= _pictures(trainer, pl_module, state, missing)
                    grid.put_beside(title, drawn)


def _pictures(trainer: Trainer, module: Any, state: Mapping[str, Any], prompts: Mapping[int, str]) -> dict[int, Tensor]:
    """Draw prompts with other weights, one by one: a validation's batch may be all that fits."""
    if not prompts:
        return {}
    with other_weights(module, state), trainer.precision_plugin.val_step_context():
        return {index: module.validation_pictures([prompt], [index])[0].cpu() for index, prompt in prompts.items()}


def _read(path: Path) -> dict[str, Any]:
    file = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise ImpastoError(f"There is no checkpoint at {file}: train that run first, or drop it from OtherRuns.")
    try:
        checkpoint: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ImpastoError(f"{file} is not a checkpoint that can be read ({type(error).__name__}).") from error
    return checkpoint
