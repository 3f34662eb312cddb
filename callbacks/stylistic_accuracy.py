"""StylisticAccuracy: how well a predictor tells held-out styles from plain pictures, and what its numbers mean."""

import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.files import replacing, write_atomically
from lightning_modules.types import Judgement
from metrics.functional.calibration import (
    Reliability,
    balanced,
    expected_calibration_error,
    platt_scaling,
    reliability,
)
from metrics.functional.precision import has_float64
from metrics.sample_table import SampleTable

COLUMNS = ("logit", "label")
KINDS = ("plain", "stylistic")
BINS = 10
THRESHOLD = 0.5


@runtime_checkable
class Calibrated(Protocol):
    """A predictor whose logits become probabilities by a temperature and a shift."""

    temperature: Tensor
    bias: Tensor

    def calibrate(self, temperature: float, bias: float) -> None:
        """Set them."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """Apply them."""


class StylisticAccuracy(Callback):
    """Measure logits against annotations, and calibrate the predictor after every validation of a fit.

    Under ``val/`` (``test/``): ``accuracy``, ``accuracy_macro`` (the mean of both kinds' own, as there are rarely as
    many of each), and with both kinds counted alike ``loss`` (cross entropy), ``ece`` (expected calibration error) and
    ``ece_raw`` (that before the calibration); ``val/temperature`` and ``val/bias``, the calibration. It is fitted on
    the validation split, so only ``test/`` says how it holds for other groups. Every picture counts once, however the
    ranks shared them; one that cannot be read does not count.

    Into the run's folder go ``stylistic_<split>.json`` (confusion matrix, bins, the share of right answers for every
    group, such as a painter) and ``reliability_<split>.png``.

    Attributes:
        conventions: One line for every key logged last: how the number is computed.
    """

    def __init__(self) -> None:
        self.conventions: dict[str, str] = {}
        self._table = SampleTable(COLUMNS)
        self._written: list[Path] = []

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
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Note the batch."""
        self._note(outputs)

    def on_test_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Note the batch."""
        self._note(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate, then log and write."""
        if not trainer.sanity_checking:
            self._finish(trainer, pl_module, "val", fit=trainer.state.fn == TrainerFn.FITTING)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log and write."""
        self._finish(trainer, pl_module, "test", fit=False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say where the figures lie."""
        for path in dict.fromkeys(self._written):
            print(f"{path.stem.partition('_')[0]:<11}{path}")  # noqa: T201

    def _start(self, pl_module: LightningModule) -> None:
        device = pl_module.device if has_float64(pl_module.device) else torch.device("cpu")
        self._table = SampleTable(COLUMNS).to(device)
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        # A rank without batches must bring a table of the right shape to the gather.
        self._table.update(nothing, nothing, torch.empty(0, len(COLUMNS), device=device))

    def _note(self, outputs: Judgement) -> None:
        rows = torch.stack((outputs["logits"].detach().float(), outputs["label"]), dim=1)
        device = self._table.device
        self._table.update(outputs["index"].to(device), outputs["group"].to(device), rows.to(device))

    def _finish(self, trainer: Trainer, pl_module: LightningModule, stage: str, *, fit: bool) -> None:
        folder = trainer.log_dir  # asks every rank
        _, groups, rows = (part.cpu() for part in self._table.compute())
        readable = rows[:, 0].isfinite()
        groups, logits, labels = groups[readable], rows[readable, 0], rows[readable, 1]
        if not len(logits) or not isinstance(pl_module, Calibrated):
            return
        weights = balanced(labels)
        if fit:
            pl_module.calibrate(*platt_scaling(logits, labels, weights))
        probabilities = pl_module.probabilities(logits.to(pl_module.temperature)).cpu().double()
        table = reliability(probabilities, labels, BINS, weights)
        values = _values(probabilities, labels) | {
            "ece_raw": float(expected_calibration_error(torch.sigmoid(logits), labels, BINS, weights))
        }
        if stage == "val":
            values |= {"temperature": float(pl_module.temperature), "bias": float(pl_module.bias)}
        pl_module.log_dict({f"{stage}/{name}": value for name, value in values.items()}, sync_dist=True)
        self.conventions = _conventions(stage, int((~readable).sum()), labels)
        if trainer.is_global_zero and trainer.loggers and folder is not None:
            names = getattr(getattr(trainer, "datamodule", None), "artists", ())
            report = values | {
                "confusion": _confusion(probabilities, labels),
                "right_of": _right_of(groups, probabilities, labels, names),
                "bins": [dict(zip(table._fields, row, strict=True)) for row in zip(*map(_listed, table), strict=True)],
            }
            self._write(Path(folder), stage, report, table)

    def _write(self, folder: Path, stage: str, report: dict[str, Any], table: Reliability) -> None:
        path = folder / f"stylistic_{stage}.json"
        write_atomically(path, json.dumps(report, indent=2) + "\n")
        figure = folder / f"reliability_{stage}.png"
        draw_reliability(figure, table)
        self._written += [path, figure]


def draw_reliability(path: Path, table: Reliability) -> None:
    """Draw the share of stylistic pictures over their probability, and how many there are of each.

    Args:
        path: PNG file to write.
        table: What to draw.
    """
    from matplotlib.figure import Figure  # costs seconds

    figure = Figure(figsize=(5, 5), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    kept = table.mass > 0
    above.plot((0, 1), (0, 1), color="grey", linewidth=1)
    above.plot(table.predicted[kept].tolist(), table.found[kept].tolist(), marker="o")
    above.set(ylabel="share that is stylistic", ylim=(-0.02, 1.02))
    width = 1 / len(table.mass)
    below.bar([width * (place + 0.5) for place in range(len(table.mass))], table.mass.tolist(), width * 0.9)
    below.set(xlabel="predicted probability", ylabel="share of pictures", xlim=(0, 1))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _values(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    weights, right = balanced(labels), _right(probabilities, labels)
    losses = F.binary_cross_entropy(probabilities, labels, reduction="none")
    return {
        "accuracy": float(right.mean()),
        "accuracy_macro": float((weights * right).sum()),
        "loss": float((weights * losses).sum()),
        "ece": float(expected_calibration_error(probabilities, labels, BINS, weights)),
    }


def _right(probabilities: Tensor, labels: Tensor) -> Tensor:
    return ((probabilities >= THRESHOLD) == (labels > THRESHOLD)).double()


def _confusion(probabilities: Tensor, labels: Tensor) -> dict[str, dict[str, int]]:
    """Return how many of each kind, the outer key, are taken for each, the inner one."""
    return {
        true: {
            said: int((((labels > THRESHOLD) == bool(number)) & ((probabilities >= THRESHOLD) == bool(other))).sum())
            for other, said in enumerate(KINDS)
        }
        for number, true in enumerate(KINDS)
    }


def _right_of(groups: Tensor, probabilities: Tensor, labels: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    right = _right(probabilities, labels)
    return {
        names[group] if 0 <= group < len(names) else str(group): float(right[groups == group].mean())
        for group in groups.unique().tolist()
    }


def _listed(column: Tensor) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]


def _conventions(stage: str, unreadable: int, labels: Tensor) -> dict[str, str]:
    ones = int((labels > THRESHOLD).sum())
    seen = f"{ones} stylistic and {len(labels) - ones} plain pictures of held-out groups, each once"
    seen += f", without {unreadable} that cannot be read" if unreadable else ""
    fitted = "fitted on these very pictures" if stage == "val" else "fitted on the validation split"
    texts = {
        "accuracy": f"share taken for what they are, at probability 0.5, of {seen}",
        "accuracy_macro": f"mean of the two kinds' own shares, of {seen}",
        "loss": f"cross entropy in nats, either kind counting as much, with the calibration {fitted}, on {seen}",
        "ece": f"expected calibration error over {BINS} equal bins, either kind counting as much, with the calibration "
        f"{fitted}, on {seen}",
        "ece_raw": f"the same before the calibration, on {seen}",
    }
    if stage == "val":
        texts |= {"temperature": f"that divides logits, {fitted}", "bias": f"that is added to them, {fitted}"}
    return {f"{stage}/{name}": text for name, text in texts.items()}
