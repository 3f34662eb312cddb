"""LeastCertain: which pictures to annotate next."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from callbacks.contact_sheet import write_contact_sheet
from callbacks.tables import write_csv
from datamodules.images import read_pixels
from lightning_modules.types import Judgement
from metrics.functional.precision import has_float64
from metrics.sample_table import SampleTable

DECODED = 160  # short side in pixels


class LeastCertain(Callback):
    """After `impasto predict` on pictures that nobody has annotated, write those of which the predictor knows least.

    ``uncertain.csv`` has the columns ``path``, ``label``, ``group`` and ``probability``, the least certain first:
    whoever fills in ``label`` with stylistic or plain has the next table of annotations
    (`datamodules.annotation_sources.AnnotationTable`). ``uncertain.jpg`` shows them in the same order, and
    ``predictions.csv`` has them all.

    Args:
        count: How many to export.
    """

    def __init__(self, count: int = 96) -> None:
        self.count = count
        self._table = SampleTable(("logit",))

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start a new table."""
        device = pl_module.device if has_float64(pl_module.device) else torch.device("cpu")
        self._table = SampleTable(("logit",)).to(device)
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        self._table.update(nothing, nothing, torch.empty(0, 1, device=device))

    def on_predict_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Judgement,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Note the batch."""
        device = self._table.device
        self._table.update(
            outputs["index"].to(device), outputs["group"].to(device), outputs["logits"].float()[:, None].to(device)
        )

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the tables and the sheet, and say where they lie."""
        folder = trainer.log_dir  # asks every rank
        indices, groups, rows = (part.cpu() for part in self._table.compute())
        if not trainer.is_global_zero or folder is None or not trainer.loggers:
            return
        probabilities = pl_module.probabilities(rows[:, 0].to(pl_module.device, torch.float32)).cpu()  # type: ignore[operator]
        data = trainer.datamodule  # type: ignore[attr-defined]
        table = [
            {
                "path": str(data.path(index, "predict").resolve()),
                "label": "",
                "group": data.artists[group],
                "probability": p,
            }
            for index, group, p in zip(indices.tolist(), groups.tolist(), probabilities.tolist(), strict=True)
            if p == p
        ]
        uncertain = sorted(table, key=lambda row: (abs(float(row["probability"]) - 0.5), row["path"]))[: self.count]
        place = Path(folder)
        write_csv(table, place / "predictions.csv")
        write_csv(uncertain, place / "uncertain.csv")
        tiles = (
            (read_pixels(row["path"], short_side=DECODED), f"{row['probability']:.2f}\n{Path(row['path']).name}")
            for row in uncertain
        )
        write_contact_sheet(place / "uncertain.jpg", tiles)
        for name in ("predictions.csv", "uncertain.jpg", "uncertain.csv"):
            print(f"{name.partition('.')[0]:<12}{place / name}")  # noqa: T201
