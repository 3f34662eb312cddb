"""How a training on several ranks ends: on all of them, with one sentence that reaches the screen."""

import signal
import time
from typing import NoReturn

from lightning.pytorch import Trainer

from lightning_modules.errors import ImpastoError

GRACE = 10.0
"""Seconds that rank 0 has to say why, where no launcher ends the others earlier."""


def stop_every_rank(trainer: Trainer, sentence: str) -> NoReturn:
    """End a training; every rank must ask, for the same reason.

    torchrun and `srun --kill-on-bad-exit` end all ranks as soon as one has failed, so the one that explains it must
    fail first: the others wait to be ended.

    Args:
        trainer: Of this rank.
        sentence: What is wrong and what to do.

    Raises:
        ImpastoError: On rank 0.
        SystemExit: On the others, with status 1.
    """
    if trainer.is_global_zero:
        raise ImpastoError(sentence)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Lightning's handler would ask rank 0, which has gone
    time.sleep(GRACE)
    raise SystemExit(1)
