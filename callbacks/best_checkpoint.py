"""BestCheckpoint: the file that paints best, by a metric that is there."""

import logging
import math
import re
from collections.abc import Iterable
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.checkpoint_file import save_checkpoint

Mode = Literal["min", "max"]
STAND_INS = re.compile("_(embedded|hed|random)$")  # networks that a metric computed with stand-ins names
log = logging.getLogger(__name__)


class BestCheckpoint(Checkpoint):
    """Keep ``checkpoints/best.ckpt`` in the run's folder: the state after the best validation.

    What a data set cannot measure, such as the deception rate of artists whom the classifier does not know, is no
    reason to have no best: with the first validation it is settled, in one sentence, what is followed instead. A metric
    of the same name that another network has computed comes first, then ``otherwise``. A resumed run follows what it
    followed before.

    Args:
        monitor: The metric to follow.
        mode: Whether small or large values are good.
        otherwise: The metric to follow where that one is not measured.
        otherwise_mode: The same for it.
    """

    def __init__(
        self, monitor: str, mode: Mode = "min", otherwise: str = "val/style_loss", otherwise_mode: Mode = "min"
    ) -> None:
        self.choices = {monitor: mode, otherwise: otherwise_mode}
        self._followed: str | None = None
        self._mode: Mode = mode
        self._best = math.nan
        self._told = False

    def state_dict(self) -> dict[str, Any]:
        """Keep what is followed and its best value."""
        return {"followed": self._followed, "mode": self._mode, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._followed, self._mode, self._best = (state_dict[key] for key in ("followed", "mode", "best"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save, if this is the best validation of the run so far."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = trainer.callback_metrics
        if self._followed is None:
            self._settle(metrics, speak=trainer.is_global_zero)
        if self._followed is None or self._followed not in metrics:
            return
        value = float(metrics[self._followed])
        better = value < self._best if self._mode == "min" else value > self._best
        if better or (math.isnan(self._best) and not math.isnan(value)):
            self._best = value  # first: the checkpoint holds it
            save_checkpoint(trainer, "best")

    def _settle(self, metrics: Iterable[str], *, speak: bool) -> None:
        (monitor, _), *_ = self.choices.items()
        for choice, mode in self.choices.items():
            found = _same(choice, metrics)
            if found is not None:
                self._followed, self._mode = found, mode
                break
        if self._followed == monitor or self._told or not speak:
            return
        self._told = True
        if self._followed is None:
            log.warning("best.ckpt is not written: none of %s is measured here.", " and ".join(self.choices))
        else:
            better = {"min": "lower", "max": "higher"}[self._mode]
            log.warning(
                "best.ckpt follows %s (%s is better), because %s is not measured here.", self._followed, better, monitor
            )


def _same(name: str, metrics: Iterable[str]) -> str | None:
    """Return the metric of that name, or the first that differs only in the network that computed it."""
    if name in metrics:
        return name
    return next((key for key in metrics if STAND_INS.sub("", key) == STAND_INS.sub("", name)), None)
