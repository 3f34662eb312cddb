"""Checkpoints that are written whole or not at all, and what is written beside them."""

from abc import ABC, abstractmethod
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback


class Companion(Callback, ABC):
    """A callback that writes something beside every checkpoint."""

    @abstractmethod
    def accompany(self, trainer: Trainer, folder: Path) -> None:
        """Write what belongs to the checkpoint that has just been saved, on rank zero.

        Args:
            trainer: Whose checkpoint it is.
            folder: A place of its own, ``checkpoints/last`` for ``checkpoints/last.ckpt``; not made yet.
        """


def save_checkpoint(trainer: Trainer, name: str) -> None:
    """Write ``checkpoints/<name>.ckpt`` in the run's folder, if there is one; every rank must ask.

    The optimisers are in it. What is written first has one name for ever, unlike a temporary file's: hundreds of
    megabytes that a killed run has left are written over by the next save.

    Args:
        trainer: With the state to save.
        name: ``last`` or ``best``.

    Raises:
        OSError: If the disk is full; what was there before is left as it was.
    """
    if trainer.logger is None or trainer.log_dir is None:
        return
    folder = Path(trainer.log_dir) / "checkpoints"
    temporary = folder / f".{name}.ckpt.part"
    try:
        trainer.save_checkpoint(temporary, weights_only=False)
        if trainer.is_global_zero:
            temporary.replace(folder / f"{name}.ckpt")
            callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
            for companion in (each for each in callbacks if isinstance(each, Companion)):
                companion.accompany(trainer, folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
