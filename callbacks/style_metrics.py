"""StyleMetrics: how well the method paints, after every validation and test."""

import csv
import logging
import math
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from lightning_modules.types import Stylization
from lightning_modules.weights import WeightsSource, load_artist_classifier, load_lpips, load_vgg
from metrics.base import source_of
from metrics.deception import DeceptionRate
from metrics.functional.precision import has_float64
from metrics.perceptual import PerceptualDistance
from metrics.sample_table import SampleTable
from metrics.ssim import StructuralSimilarity
from metrics.style_loss import StyleLoss

BASELINES = ("deception_ceiling", "deception_floor")
COLUMNS = (
    "deception",
    *BASELINES,
    "ssim_content",
    "lpips_content",
    "style_loss",
    "ssim_truth",
    "lpips_truth",
)
UNTRAINED = "deception_untrained"
log = logging.getLogger(__name__)


class StyleMetrics(Callback):
    """Measure every `Stylization` that a validation or test step returns, and log the means.

    Under ``val/`` (``test/``), with ``_embedded``, ``_hed`` or ``_random`` appended where such a network computed it:

    - ``deception``: share of pictures that an artist classifier takes for the target artist's; beside it
      ``deception_ceiling``, the same of true paintings, and ``deception_floor``, of the untouched contents. These two
      are measured in the first validation only and logged with every one. Artists that the classifier does not know,
      by name, are not counted.
    - ``deception_untrained``: the same of the model before its first step, where the sanity check covers the whole
      validation split (``num_sanity_val_steps: -1``).
    - ``ssim_content``, ``lpips_content``: how much of the content is left; ``style_loss``: distance from the style.
    - ``ssim_truth``, ``lpips_truth``: against the content as the artist painted it, where the data has that.

    Every sample counts once, however the ranks shared them. The means of every artist go to ``per_artist.csv`` in the
    run's folder. Networks are held outside the module (no checkpoint contains them) and neither gradients nor random
    numbers of the training are touched.

    Args:
        weights: Where VGG and LPIPS come from.
        classifier: ``embedded``, or the file of an artist classifier; see
            `lightning_modules.weights.load_artist_classifier`.
        encoder: Takes the place of the VGG.
        perceptual: Takes the place of LPIPS.
        artist_classifier: Takes the place of the classifier; has an attribute ``artists``.

    Attributes:
        conventions: One line for every key logged last: how the number is computed.
    """

    def __init__(
        self,
        weights: WeightsSource = "auto",
        classifier: str = "embedded",
        *,
        encoder: nn.Module | None = None,
        perceptual: nn.Module | None = None,
        artist_classifier: nn.Module | None = None,
    ) -> None:
        self.conventions: dict[str, str] = {}
        self._weights: WeightsSource = weights
        self._classifier = classifier
        self._networks = (encoder, perceptual, artist_classifier)
        self._judges: _Judges | None = None
        self._table = SampleTable(COLUMNS)
        self._names: dict[int, str] = {}
        self._baselines: dict[int | None, dict[str, float]] = {}
        self._told = False
        self._untrained: float | None = None

    # ------------------------------------------------------------------ hooks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Load the networks, once."""
        self._baselines = {}
        if self._judges is None:
            encoder, perceptual, classifier = self._networks
            with torch.random.fork_rng(devices=[]):  # building a network draws its first weights
                self._judges = _Judges(
                    encoder or load_vgg(self._weights),
                    perceptual or load_lpips(self._weights),
                    classifier or load_artist_classifier(self._classifier),
                )

    def state_dict(self) -> dict[str, float | None]:
        """Keep what a resumed run cannot measure again."""
        return {"untrained": self._untrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._untrained = state_dict["untrained"]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start a new table."""
        self._start(pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start a new table."""
        self._start(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Measure the batch."""
        if isinstance(outputs, dict) and (not trainer.sanity_checking or _sanity_check_is_whole(trainer)):
            self._measure(outputs)  # type: ignore[arg-type]

    def on_test_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Measure the batch."""
        if isinstance(outputs, dict):
            self._measure(outputs)  # type: ignore[arg-type]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        if not trainer.sanity_checking:
            self._finish(trainer, pl_module, "val")
        elif _sanity_check_is_whole(trainer):
            self._untrained = _means(self._table.compute()[2].cpu()).get("deception")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        self._finish(trainer, pl_module, "test")

    # ------------------------------------------------------------------ one epoch

    def _start(self, pl_module: LightningModule) -> None:
        # On the module's device, because NCCL gathers nothing else.
        device = pl_module.device if has_float64(pl_module.device) else torch.device("cpu")
        self._table = SampleTable(COLUMNS).to(device)
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        # A rank without batches must bring a table of the right shape to the gather.
        self._table.update(nothing, nothing, torch.empty(0, len(COLUMNS), device=device))

    def _measure(self, outputs: Stylization) -> None:
        assert self._judges is not None  # noqa: S101 - setup() came first
        values = self._judges.values(outputs, baselines=not self._baselines)
        missing = torch.full((len(outputs["index"]),), torch.nan, dtype=torch.float64)
        rows = torch.stack([values.get(column, missing).cpu() for column in COLUMNS], dim=1)
        artist = outputs["artist"]
        self._table.update(outputs["index"], artist, rows.to(self._table.device))
        self._names |= dict(zip(artist.tolist(), outputs["prompt"], strict=True))

    def _finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert self._judges is not None  # noqa: S101 - setup() came first
        _, groups, rows = (part.cpu() for part in self._table.compute())
        folder = trainer.log_dir  # asks every rank
        counts = {group: int((groups == group).sum()) for group in groups.unique().tolist()}
        means: dict[int | None, dict[str, float]] = {None: _means(rows)}
        means |= {group: _means(rows[groups == group]) for group in counts}
        if not self._baselines:
            self._baselines = {
                key: {name: mean[name] for name in BASELINES if name in mean} for key, mean in means.items()
            }
        means = {key: mean | self._baselines.get(key, {}) for key, mean in means.items()}
        if self._untrained is not None:
            means[None][UNTRAINED] = self._untrained

        keys, lines = self._judges.keys(), self._judges.conventions()
        pl_module.log_dict({f"{stage}/{keys[name]}": mean for name, mean in means[None].items()}, sync_dist=True)
        self.conventions = {f"{stage}/{keys[name]}": lines[name] for name in means[None]}
        if not trainer.is_global_zero or not len(rows):
            return
        self._tell_unknown(rows)
        if trainer.loggers and folder is not None:
            artists = getattr(getattr(trainer, "datamodule", None), "artists", ())
            table = [
                {"artist": self._names.get(group) or _at(artists, group), "samples": count}
                | {keys[name]: mean for name, mean in means[group].items()}
                for group, count in counts.items()
            ]
            _write_csv(table, Path(folder) / "per_artist.csv")

    def _tell_unknown(self, rows: Tensor) -> None:
        unknown = int(rows[:, COLUMNS.index("deception")].isnan().sum())
        if not unknown or self._told:
            return
        self._told = True
        if unknown == len(rows):
            log.warning("The deception rate is left out: the artist classifier knows none of these artists by name.")
        else:
            log.warning(
                "The deception rate does not count %d of %d samples, whose artists the classifier does not know.",
                unknown,
                len(rows),
            )


class _Judges:
    """The metrics of `StyleMetrics`, and what each of its columns means."""

    def __init__(self, encoder: nn.Module, perceptual: nn.Module, classifier: nn.Module) -> None:
        self.style_loss = StyleLoss(encoder)
        self.perceptual = PerceptualDistance(perceptual)
        self.ssim = StructuralSimilarity()
        self.deception = DeceptionRate(classifier)
        self.sources = {
            "deception": source_of(classifier),
            "lpips": source_of(perceptual),
            "style": source_of(encoder),
            "ssim": "",
        }

    def values(self, outputs: Stylization, *, baselines: bool) -> dict[str, Tensor]:
        """Return one value per sample for every column that this batch has."""
        content, style, stylized = outputs["content"], outputs["style"], outputs["stylized"]
        labels = self.deception.labels(outputs["prompt"])
        values = {
            "ssim_content": self.ssim.values(stylized, content),
            "lpips_content": self.perceptual.values(stylized, content),
            "style_loss": self.style_loss.values(stylized, style),
            "deception": self.deception.values(stylized, labels),
        }
        if "truth" in outputs:
            values["ssim_truth"] = self.ssim.values(stylized, outputs["truth"])
            values["lpips_truth"] = self.perceptual.values(stylized, outputs["truth"])
        if baselines:
            values["deception_floor"] = self.deception.values(content, labels)
            values["deception_ceiling"] = self.deception.values(outputs.get("truth", style), labels)
        return values

    def keys(self) -> dict[str, str]:
        """Return the name under which each column is logged."""
        columns = (*COLUMNS, UNTRAINED)
        return {column: column + _suffix(self.sources[column.split("_", maxsplit=1)[0]]) for column in columns}

    def conventions(self) -> dict[str, str]:
        """Return one line per column."""
        rate = self.deception.convention
        return {
            "deception": rate,
            "deception_ceiling": f"of true paintings: {rate}",
            "deception_floor": f"of untouched contents: {rate}",
            UNTRAINED: f"before the first step: {rate}",
            "ssim_content": f"against the content: {self.ssim.convention}",
            "lpips_content": f"against the content: {self.perceptual.convention}",
            "style_loss": f"against the style: {self.style_loss.convention}",
            "ssim_truth": f"against the artist's own painting of the content: {self.ssim.convention}",
            "lpips_truth": f"against the artist's own painting of the content: {self.perceptual.convention}",
        }


def _sanity_check_is_whole(trainer: Trainer) -> bool:
    return math.isinf(trainer.num_sanity_val_steps)


def _suffix(source: str) -> str:
    for stand_in in ("embedded", "hed", "random"):
        if source.startswith(stand_in):
            return f"_{stand_in}"
    return ""


def _means(rows: Tensor) -> dict[str, float]:
    means = rows.nanmean(0).tolist()
    return {name: mean for name, mean in zip(COLUMNS, means, strict=True) if not math.isnan(mean)}


def _at(names: Any, position: int) -> str:
    return names[position] if position < len(names) else str(position)


def _write_csv(table: list[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in table for key in row)))
        writer.writeheader()
        writer.writerows(table)
    temporary.replace(path)
