"""LastCheckpoint: the file that a killed run continues from."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class LastCheckpoint(Checkpoint):
    """Keep ``checkpoints/last.ckpt`` in the run's folder up to date; a kill at any moment leaves a whole file.

    Lightning's ModelCheckpoint writes to a temporary folder that may be another disk, from where a file is copied,
    not renamed; and it does not save the last iteration of a run whose length is no multiple of its interval.

    Args:
        every_n_iterations: Interval between two saves, in iterations.
    """

    def __init__(self, every_n_iterations: int = 50) -> None:
        self.every_n_iterations = every_n_iterations
        self._saved_at = -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Save when the interval is over."""
        step = trainer.global_step
        if step and step % self.every_n_iterations == 0 and step != self._saved_at:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save the end of the run."""
        if trainer.global_step != self._saved_at:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if trainer.logger is None or trainer.log_dir is None:
            return
        folder = Path(trainer.log_dir) / "checkpoints"
        temporary = folder / ".last.ckpt.part"
        trainer.save_checkpoint(temporary, weights_only=False)  # with the optimisers; every rank takes part
        if trainer.is_global_zero:
            temporary.replace(folder / "last.ckpt")
        self._saved_at = trainer.global_step
