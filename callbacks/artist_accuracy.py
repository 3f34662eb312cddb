"""ArtistAccuracy: how well a classifier names the artists of held-out paintings, and its export."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.types import LabelledBatch
from metrics.functional.deception import deceives
from metrics.functional.precision import has_float64
from metrics.sample_table import SampleTable

COLUMNS = ("accuracy", "accuracy_top5", "loss")
MONITOR = "accuracy_macro"


@runtime_checkable
class Exportable(Protocol):
    """A classifier that can write itself to a file."""

    artists: tuple[str, ...]

    def export(self, path: Path, measured: dict[str, Any]) -> None:
        """Write the network and the figures measured on it."""


class ArtistAccuracy(Callback):
    """Measure logits against the artists of a split, and keep the export of the best validation so far.

    Under ``val/`` (``test/``): ``accuracy`` (share of paintings whose artist has the highest logit: the ceiling of a
    deception rate that this classifier measures), ``accuracy_macro`` (its mean over artists), ``accuracy_top5`` and
    ``loss`` (cross entropy). Every painting counts once, however the ranks shared them.

    When ``accuracy_macro`` of a validation is the highest so far, the module's ``export`` writes ``filename`` and the
    JSON file beside it into the run's folder, with the accuracy of every artist, the number of paintings and the
    data module's ``split_hash``.

    Args:
        filename: Name of the exported file; ends in ``.safetensors``.

    Attributes:
        conventions: One line for every key logged last: how the number is computed.
    """

    def __init__(self, filename: str = "artist_classifier.safetensors") -> None:
        self.filename = filename
        self.conventions: dict[str, str] = {}
        self._table = SampleTable(COLUMNS)
        self._best = -1.0
        self._exported: Path | None = None

    def state_dict(self) -> dict[str, float]:
        """Keep the best accuracy, for a run that is continued."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._best = float(state_dict["best"])

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start a new table."""
        self._start(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start a new table."""
        self._start(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Measure the batch."""
        self._measure(outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Measure the batch."""
        self._measure(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means, and export where they are the best so far."""
        if trainer.sanity_checking:
            return
        folder = trainer.log_dir  # asks every rank
        means, per_artist = self._finish(pl_module, "val")
        if means[MONITOR] <= self._best:
            return
        self._best = means[MONITOR]
        if not trainer.is_global_zero or not trainer.loggers or folder is None:
            return
        if isinstance(pl_module, Exportable):
            path = Path(folder) / self.filename
            split = getattr(getattr(trainer, "datamodule", None), "split_hash", None)
            pl_module.export(path, means | {"accuracy_of": per_artist, "split_hash": split})
            self._exported = path

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Log the means."""
        self._finish(pl_module, "test")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say where the classifier lies."""
        if self._exported is not None:
            print(f"{'classifier':<11}{self._exported}")  # noqa: T201

    def _start(self, pl_module: LightningModule) -> None:
        device = pl_module.device if has_float64(pl_module.device) else torch.device("cpu")
        self._table = SampleTable(COLUMNS).to(device)
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        # A rank without batches must bring a table of the right shape to the gather.
        self._table.update(nothing, nothing, torch.empty(0, len(COLUMNS), device=device))

    def _measure(self, logits: Tensor, batch: LabelledBatch) -> None:
        logits, labels = logits.detach().float(), batch.artist
        loss = F.cross_entropy(logits, labels, reduction="none")
        hits = [deceives(logits, labels, top).to(loss) for top in (1, 5)]
        rows = torch.stack((*hits, loss), dim=1)
        device = self._table.device
        self._table.update(batch.index.to(device), labels.to(device), rows.to(device))

    def _finish(self, pl_module: LightningModule, stage: str) -> tuple[dict[str, float], dict[str, float]]:
        _, groups, rows = (part.cpu() for part in self._table.compute())
        artists = getattr(pl_module, "artists", ())
        per_artist = {
            artists[group] if group < len(artists) else str(group): float(rows[groups == group, 0].mean())
            for group in groups.unique().tolist()
        }
        means = dict(zip(COLUMNS, rows.mean(0).tolist(), strict=True))
        means[MONITOR] = sum(per_artist.values()) / max(1, len(per_artist))
        logged = (*COLUMNS, MONITOR)
        pl_module.log_dict({f"{stage}/{name}": means[name] for name in logged}, sync_dist=True)
        seen = f"{len(rows)} held-out paintings, each once"
        texts = {
            "accuracy": f"share of {seen}, whose artist has the highest of {len(artists)} logits",
            MONITOR: f"the same as a mean over the {len(per_artist)} artists in the split, on {seen}",
            "accuracy_top5": f"share of {seen}, whose artist is among the first 5 of {len(artists)}",
            "loss": f"cross entropy in nats, without label smoothing, on {seen}",
        }
        self.conventions = {f"{stage}/{name}": texts[name] for name in logged}
        return means, per_artist
