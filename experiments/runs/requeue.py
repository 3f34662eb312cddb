"""Requeue: before SLURM's time limit, save between two iterations and put the job into the queue again."""

import os
import signal
import subprocess
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from callbacks.checkpoint_file import save_checkpoint
from experiments.failures import Terminated
from lightning_modules.errors import ImpastoError

LOOK = 10  # iterations between two questions to the other ranks, each of which waits for the device


class Requeue(Checkpoint):
    """Answer SIGUSR1, which `#SBATCH --signal=USR1@300` sends to every rank, with ``last.ckpt`` and `scontrol requeue`.

    Lightning would save inside the signal's handler, while other ranks, whose handlers come at another moment, are in
    the middle of an iteration: what one rank waits for is not what the others send, and the iteration at hand is lost.
    Here the signal is only noted; ranks ask each other between iterations, and the requeued job continues in the bits
    of a run that was never stopped. Lightning leaves a signal alone that has a handler already.
    """

    def __init__(self) -> None:
        self._asked = False
        self._seen = self._saved = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Note the signal from now on."""
        signal.signal(signal.SIGUSR1, self._note)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Save, where the signal has reached any rank."""
        step = trainer.global_step
        if step == self._seen or step % LOOK or step == trainer.max_steps:  # it repeats while gradients accumulate
            return
        self._seen = step
        if trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            save_checkpoint(trainer, "last")
            self._saved = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Requeue and end, where it has been saved; only now is the iteration's record written.

        Raises:
            Terminated: With status 0: another would end the job for good.
            ImpastoError: If SLURM does not requeue the job.
        """
        if self._saved < 0:
            return
        refusal = trainer.strategy.broadcast(requeue() if trainer.is_global_zero else "")
        if not trainer.is_global_zero:
            raise SystemExit(0)
        if refusal:
            raise ImpastoError(f"{refusal} The run is saved: submit it again, as it was begun.")
        raise Terminated(f"Saved in iteration {self._saved} and requeued: the job continues there.", 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do the same, before what may take longer than there is time."""
        self.on_train_batch_start(trainer, pl_module)

    def _note(self, *_: Any) -> None:
        self._asked = True


def requeue() -> str:
    """Put this process's job into SLURM's queue again; return why not, or an empty string.

    SLURM then ends the job with SIGTERM, which must hit neither `scontrol` nor the last words of a process that ends.
    """
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    refusal = _ask(job)
    if refusal:
        signal.signal(signal.SIGTERM, before)
    return refusal


def _ask(job: str) -> str:
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError as error:
        return f"SLURM cannot be asked to requeue job {job} ({error})."
    return f"SLURM does not requeue job {job} ({done.stderr.strip()})." if done.returncode else ""
