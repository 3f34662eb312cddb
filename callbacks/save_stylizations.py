"""SaveStylizations: every picture that a validation, test or prediction paints, as a file."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn

from datamodules.images import write_image

SPLITS = {TrainerFn.TESTING: "test"}


class SaveStylizations(Callback):
    """Write every `Stylization`'s pictures to ``results/`` of the run's folder, each rank its own.

    Files are called what the data module's ``describe(index, split)["job"]`` says, else by their index; where samples
    have masks, ``<name>_mask.png`` lies beside, so that what a grounder found can be seen. The validations of a fit
    overwrite each other's.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Ask where to write."""
        folder = trainer.log_dir  # asks every rank
        self._folder = None if folder is None or trainer.sanity_checking else Path(folder) / "results"

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Write the pictures of the batch."""
        if self._folder is None or not isinstance(outputs, dict):
            return
        describe = getattr(getattr(trainer, "datamodule", None), "describe", None)
        split = SPLITS.get(trainer.state.fn, "val")  # type: ignore[arg-type]  # None is no key either
        for row, index in enumerate(outputs["index"].tolist()):
            name = f"{index:06d}" if describe is None else describe(index, split)["job"]
            write_image(outputs["stylized"][row], self._folder / f"{name}.png")
            if "mask" in outputs:
                write_image(outputs["mask"][row].expand(3, -1, -1), self._folder / f"{name}_mask.png")

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
