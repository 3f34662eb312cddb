"""RunKeeper: whether a run may start, when it becomes the latest, and what is left of one that came to nothing."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from callbacks.together import stop_every_rank
from experiments.runs.run import Run


class RunKeeper(Callback):
    """Stop every rank at once where rank 0 has refused the run, and make it the latest with its first iteration.

    The ranks hear of a refusal here, when they can talk to each other for the first time: one that gave up earlier
    would leave the others waiting for it.

    Args:
        run: What this rank believes to be the run.

    Attributes:
        fruitful: Whether there is anything to keep: an iteration, or an evaluation that came to its end.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.fruitful = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Hear what rank 0 has decided.

        Raises:
            ImpastoError: If the run is refused; on other ranks, which have nothing to add, the process ends.
        """
        refusal = trainer.strategy.broadcast(self.run.refusal)
        if refusal:
            stop_every_rank(trainer, refusal)

    def on_train_batch_end(self, *args: Any) -> None:  # noqa: ARG002
        """Make this run the method's latest."""
        if not self.fruitful:
            self.fruitful = True
            self.run.link_latest()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Keep the folder of an evaluation that is done."""
        self.fruitful = self.fruitful or not trainer.sanity_checking

    on_test_end = on_validation_end

    def close(self) -> None:
        """Remove the folder that a failure has left without anything in it that is worth a look."""
        if not self.fruitful:
            self.run.discard()
