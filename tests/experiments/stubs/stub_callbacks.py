"""What can happen to a training, as callbacks that YAML can name."""

import os
import signal
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback


class Incident(Callback):
    """Happens once, when an iteration (counted from 1) starts; 0 is the sanity check."""

    def __init__(self, iteration: int = 1) -> None:
        self.iteration = iteration

    def on_train_batch_start(self, trainer, module, batch, *_):
        if trainer.global_step + 1 == self.iteration:
            self.happen(batch)

    def on_sanity_check_start(self, *_):
        if self.iteration == 0:
            self.happen(None)


class Signal(Incident):
    def __init__(self, iteration: int = 1, number: int = 2) -> None:
        super().__init__(iteration)
        self.number = number

    def happen(self, batch):
        os.kill(os.getpid(), self.number)


class Fault(Incident):
    def happen(self, batch):
        raise ZeroDivisionError("the model divides by zero")


class Poison(Incident):
    """Makes this batch's loss, and thereby the weights, NaN; on one rank only, where there are several."""

    def happen(self, batch):
        if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "1"))) == 1:
            batch.content.fill_(torch.nan)


class Lonely(Incident):
    """Happens on rank 1 alone, and notes when."""

    def happen(self, batch):
        if os.environ["RANK"] == "1":
            Path("died").write_text(str(time.time()))
            self.die()


class LonelyFault(Lonely):
    def die(self):
        raise ZeroDivisionError("rank 1 divides by zero")


class LonelyKill(Lonely):
    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Warn(Incident):
    def happen(self, batch):
        warnings.warn("mind the step", UserWarning, stacklevel=1)
