"""LastCheckpoint: the file that a killed run continues from."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from callbacks.checkpoint_file import save_checkpoint

LOOK = 10  # iterations between two looks at the clock, which all ranks must agree about


class LastCheckpoint(Checkpoint):
    """Keep ``checkpoints/last.ckpt`` in the run's folder up to date; a kill at any moment leaves a whole file.

    Lightning's ModelCheckpoint writes to a temporary folder that may be another disk, from where a file is copied,
    not renamed; and it does not save the last iteration of a run whose length is no multiple of its interval.

    An iteration that a validation follows is saved after that: a run continues behind a validation that was due when
    its checkpoint was saved, and where a kill had cut off the last one, it would end without metrics.

    Args:
        every_n_iterations: Most iterations between two saves: the file is saved at their multiples.
        minutes: Most minutes between two saves, whichever comes first; None looks at no clock.
    """

    def __init__(self, every_n_iterations: int = 1000, minutes: float | None = None) -> None:
        self.every_n_iterations = every_n_iterations
        self.minutes = minutes
        self._seen = self._saved_at = -1
        self._waits = False  # for the end of a validation
        self._saved_when = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self._saved_when = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Save when one of the intervals is over, or leave it to the validation that comes now."""
        step = trainer.global_step
        if step in {0, self._seen}:  # a step repeats while gradients accumulate
            return
        self._seen = step
        if step % self.every_n_iterations == 0 or self._is_late(trainer):
            self._waits = _validates_now(trainer)
            if not self._waits:
                self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save what the validation has held up; `BestCheckpoint` comes before."""
        if self._waits:
            self._waits = False
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save the end of the run."""
        if trainer.global_step != self._saved_at:
            self._save(trainer)

    def _is_late(self, trainer: Trainer) -> bool:
        if self.minutes is None or trainer.global_step % LOOK:
            return False
        late = time.monotonic() - self._saved_when >= 60 * self.minutes
        return trainer.strategy.reduce_boolean_decision(late, all=False)

    def _save(self, trainer: Trainer) -> None:
        save_checkpoint(trainer, "last")
        self._saved_at, self._saved_when = trainer.global_step, time.monotonic()


def _validates_now(trainer: Trainer) -> bool:
    loop = trainer.fit_loop
    return loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
