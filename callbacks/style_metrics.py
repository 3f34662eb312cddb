"""StyleMetrics: how well the method paints, after every validation and test."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from callbacks.extremes import Case, Extremes, captioned
from callbacks.panel import make_panel
from callbacks.region_metrics import REGION_BASELINES, REGION_INPUTS, region_metrics
from callbacks.stylization_grid import draw_grid, log_picture
from callbacks.tables import sample_rows, write_csv
from datamodules.images import write_image
from lightning_modules.types import Stylization
from lightning_modules.weights import WeightsSource, load_artist_classifier, load_lpips
from metrics.base import PictureMetric
from metrics.catalogue import Judges, make_metrics
from metrics.collection import StyleMetricCollection
from metrics.deception import DeceptionRate
from metrics.extractors import load_extractor
from metrics.perceptual import PerceptualDistance
from metrics.ssim import StructuralSimilarity
from metrics.style_loss import StyleLoss
from metrics.way import WayToTruth

BASELINES = {"deception_ceiling": "of true paintings", "deception_floor": "of untouched contents"}
ALL_BASELINES = BASELINES | REGION_BASELINES
UNTRAINED = "deception_untrained"
# What the standard metrics compare where their own `inputs` are others; a baseline's pictures come once.
STANDARD_INPUTS: dict[str, tuple[str, ...]] = {
    "deception_ceiling": ("paintings", "prompt"),
    "deception_floor": ("untouched", "prompt"),
    "ssim_truth": ("stylized", "truth"),
    "lpips_truth": ("stylized", "truth"),
    **REGION_INPUTS,
}
CELL = 160
log = logging.getLogger(__name__)


class StyleMetrics(Callback):
    """Measure every `Stylization` that a validation or test step returns, and log the means.

    Under ``val/`` (``test/``), with ``_embedded``, ``_hed`` or ``_random`` appended where such a network computed it:

    - ``deception``: share of pictures that an artist classifier takes for the target artist's, and for nobody else's;
      beside it ``deception_ceiling``, the same of true paintings, and ``deception_floor``, of the untouched contents.
      These two are measured in the first validation only and logged with every one. Artists that the classifier does
      not know, by name, are not counted.
    - ``deception_closed``: the same as a choice among the artists alone, as before the classifier had a class for none
      of them; where it has one. It will be dropped after one release.
    - ``deception_untrained``: the same of the model before its first step, where the sanity check covers the whole
      validation split (``num_sanity_val_steps: -1``).
    - ``ssim_content``, ``lpips_content``: how much of the content is left; ``style_loss``: distance from the style.
    - ``ssim_truth``, ``lpips_truth``: against the content as the artist painted it, where the data has that.
    - ``way``: how far the picture went from the content (0) to that painting (1), in the features of the artist
      classifier.
    - ``panel_named``, ``panel_way``: share of pictures whose artist an independent panel names, and the way in its
      features, where its weights are installed (see `lightning_modules.weights.load_dinov2`). No loss and no choice of
      a checkpoint may follow these.
    - with ``regions``, what was done inside the masks, outside and along their edges:
      `callbacks.region_metrics.region_metrics`.
    - whatever ``metrics`` and ``custom`` add, such as ``sifid``, ``chamfer`` and ``csd``.

    Pictures that were drawn from words are measured in what they have: a style, an artist, and no content. A judge that
    asks for the style in words gets the artist's name, not the prompt.

    Every sample counts once, however the ranks shared them, and every style picture once in distances of sets. The
    means of every artist go to ``per_artist.csv`` in the run's folder, the values of every sample to
    ``per_sample.csv``, with what the data module's ``describe(index, split)`` says of it, where it has that; the best
    and the worst samples of each metric to ``samples/extremes/<metric>.png``, and to the loggers that show pictures.
    Networks are held outside the module (no checkpoint contains them) and neither gradients nor random numbers of the
    training are touched.

    Args:
        weights: Where the networks come from.
        classifier: ``embedded``, or the file of an artist classifier; see
            `lightning_modules.weights.load_artist_classifier`.
        metrics: Names that `metrics.catalogue.find` knows, to measure too.
        custom: Name to metric, to measure too.
        inputs: Name of a custom metric to the fields of the `Stylization` that it compares, in place of its own.
        extremes: Best and worst samples of each metric to draw; 0 for none.
        panel: Whether to ask the independent panel; None does where its weights are installed. It costs about a tenth
            of a second for every picture on one core, and once that for 24 paintings of every artist.
        regions: Whether the samples have masks inside which to measure.
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
        metrics: Sequence[str] = (),
        custom: Mapping[str, PictureMetric] | None = None,
        inputs: Mapping[str, Sequence[str]] | None = None,
        extremes: int = 2,
        panel: bool | None = None,
        regions: bool = False,
        *,
        encoder: nn.Module | None = None,
        perceptual: nn.Module | None = None,
        artist_classifier: nn.Module | None = None,
    ) -> None:
        self.conventions: dict[str, str] = {}
        self._weights: WeightsSource = weights
        self._classifier = classifier
        self._named = tuple(metrics)
        self._custom = dict(custom or {})
        self._inputs = dict(inputs or {})
        self._networks = (encoder, perceptual, artist_classifier)
        self._collection: StyleMetricCollection | None = None
        self._extremes = Extremes(extremes, CELL)
        self._panel = panel
        self._regions = regions
        self._names: dict[int, str] = {}
        self._baselines: dict[int | None, dict[str, float]] = {}
        self._told: set[str] = set()
        self._untrained: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Load the networks, once."""
        self._baselines = {}
        if self._collection is None:
            with torch.random.fork_rng(devices=[]):  # building a network draws its first weights
                metrics = self._standard() | self._of_panel(getattr(trainer, "datamodule", None))
                inputs = {name: fields for name, fields in STANDARD_INPUTS.items() if name in metrics} | self._inputs
                more = make_metrics(
                    [name for name in self._named if name not in metrics], Judges(self._weights, self._classifier)
                )
            self._collection = StyleMetricCollection(metrics | more | self._custom, inputs)

    def state_dict(self) -> dict[str, float | None]:
        """Keep what a resumed run cannot measure again."""
        return {"untrained": self._untrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it."""
        self._untrained = state_dict["untrained"]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start anew."""
        self._measured.reset()
        self._measured.to(pl_module.device)
        self._extremes = Extremes(self._extremes.count, CELL)

    on_test_epoch_start = on_validation_epoch_start

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
            self._measure(outputs, trainer)  # type: ignore[arg-type]

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Measure the batch."""
        if isinstance(outputs, dict):
            self._measure(outputs, trainer)  # type: ignore[arg-type]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        if not trainer.sanity_checking:
            self._finish(trainer, pl_module, "val")
        elif _sanity_check_is_whole(trainer):
            _, _, columns = self._measured.table()
            self._untrained = _means(columns).get(self._measured.key("deception"))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        self._finish(trainer, pl_module, "test")

    @property
    def _measured(self) -> StyleMetricCollection:
        assert self._collection is not None  # noqa: S101 - setup() came first
        return self._collection

    def _standard(self) -> dict[str, PictureMetric]:
        encoder, perceptual, classifier = self._networks
        perceptual = perceptual or load_lpips(self._weights, trunk="alex")
        classifier = classifier or load_artist_classifier(self._classifier)
        more: dict[str, PictureMetric] = {}
        if getattr(classifier, "none", False):
            more["deception_closed"] = DeceptionRate(classifier, closed=True)
        if hasattr(classifier, "features"):
            more["way"] = WayToTruth(classifier)
        return {
            "deception": DeceptionRate(classifier),
            **{name: DeceptionRate(classifier) for name in BASELINES},
            **more,
            **self._of_regions(classifier, perceptual),
            "ssim_content": StructuralSimilarity(),
            "lpips_content": PerceptualDistance(perceptual),
            "style_loss": StyleLoss(encoder or load_extractor("vgg19", self._weights)),
            "ssim_truth": StructuralSimilarity(),
            "lpips_truth": PerceptualDistance(perceptual),
        }

    def _of_regions(self, classifier: nn.Module, perceptual: nn.Module) -> dict[str, PictureMetric]:
        return region_metrics(classifier, perceptual, load_extractor("clip", self._weights)) if self._regions else {}

    def _of_panel(self, datamodule: Any) -> dict[str, PictureMetric]:
        panel = make_panel(datamodule, self._panel)
        return {} if panel is None else {"panel_named": DeceptionRate(panel), "panel_way": WayToTruth(panel)}

    def _measure(self, outputs: Stylization, trainer: Trainer) -> None:
        names = _artists_of(outputs, getattr(trainer, "datamodule", None))
        fields: dict[str, Any] = {**outputs, "prompt": names}
        if not self._baselines:
            pictures = {"untouched": outputs.get("content"), "paintings": outputs.get("truth", outputs.get("style"))}
            fields |= {name: given for name, given in pictures.items() if given is not None}
        self._measured.update(**fields)
        self._names |= dict(zip(outputs["artist"].tolist(), names, strict=True))
        if self._extremes.count:
            baselines = list(self._baseline_keys.values())
            values = self._measured.sample_values()
            self._extremes.add(outputs, {key: value for key, value in values.items() if key not in baselines})

    def _finish(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = trainer.log_dir  # asks every rank
        sentences: list[str] = []
        values = {key: float(value) for key, value in self._measured.compute(sentences.append).items()}
        indices, groups, columns = self._measured.table()
        cases = self._extremes.gather() if self._extremes.count else {}
        counts = {group: int((groups == group).sum()) for group in groups.unique().tolist()}
        means: dict[int | None, dict[str, float]] = {None: {k: v for k, v in values.items() if not math.isnan(v)}}
        means |= {group: _means({k: column[groups == group] for k, column in columns.items()}) for group in counts}
        self._add_baselines(means)
        lines = self._lines()
        pl_module.log_dict({f"{stage}/{key}": mean for key, mean in means[None].items()}, sync_dist=True)
        self.conventions = {f"{stage}/{key}": lines[key] for key in means[None]}
        if not trainer.is_global_zero or not counts:
            return
        self._warn(sentences + self._sentences(columns[self._measured.key("deception")]))
        if trainer.loggers and folder is not None:
            datamodule = getattr(trainer, "datamodule", None)
            artists = getattr(datamodule, "artists", ())
            names = {group: self._names.get(group) or _at(artists, group) for group in counts}
            table = [{"artist": names[group], "samples": count} | means[group] for group, count in counts.items()]
            write_csv(table, Path(folder) / "per_artist.csv")
            rows = sample_rows(indices, groups, columns, names, datamodule, stage)
            write_csv(rows, Path(folder) / "per_sample.csv")
            self._draw(trainer, cases, Path(folder) / "samples" / "extremes", stage)

    def _add_baselines(self, means: dict[int | None, dict[str, float]]) -> None:
        """Bring in what is not measured in every validation."""
        if not self._baselines:
            keys = self._baseline_keys.values()
            self._baselines = {who: {key: mean[key] for key in keys if key in mean} for who, mean in means.items()}
        for who, mean in means.items():
            mean |= self._baselines.get(who, {})
        if self._untrained is not None:
            means[None][self._untrained_key] = self._untrained

    @property
    def _baseline_keys(self) -> dict[str, str]:
        return {name: self._measured.key(name) for name in ALL_BASELINES if name in self._measured.metrics}

    @property
    def _untrained_key(self) -> str:
        return UNTRAINED + self._measured.key("deception").removeprefix("deception")

    def _lines(self) -> dict[str, str]:
        lines = self._measured.conventions()
        rate = lines[self._measured.key("deception")]
        for name, key in self._baseline_keys.items():
            lines[key] = f"{ALL_BASELINES[name]}: {lines[self._measured.key(name.rpartition('_')[0])]}"
        return lines | {self._untrained_key: f"before the first step: {rate}"}

    def _sentences(self, rates: Tensor) -> list[str]:
        """Return what the reader of the numbers should know about those that are not there."""
        sentences = [
            f"{name} is left out: the validation does not bring all of {', '.join(self._measured.inputs[name])}."
            for name in (*self._named, *self._custom)
            if name not in self._measured.seen
        ]
        unknown = int(rates.isnan().sum())
        if unknown == len(rates):
            sentences.append(
                "The deception rate is left out: the artist classifier knows none of these artists by name."
            )
        elif unknown:
            sentences.append(
                f"The deception rate does not count {unknown} of {len(rates)} samples, whose artists the classifier "
                "does not know."
            )
        return sentences

    def _warn(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            if sentence not in self._told:
                self._told.add(sentence)
                log.warning(sentence)

    def _draw(self, trainer: Trainer, cases: Mapping[str, list[Case]], folder: Path, stage: str) -> None:
        better = {self._measured.key(name): metric.higher_is_better for name, metric in self._measured.metrics.items()}
        for key, found in cases.items():
            if not found:  # nan for every sample, as the deception of artists whom the classifier does not know
                continue
            picture = draw_grid(captioned(found, higher_is_better=bool(better[key])), CELL)
            path = folder / f"{stage}_{key}.png"
            write_image(picture, path)
            log_picture(trainer, f"extremes/{key}", picture, path)


def _artists_of(outputs: Stylization, datamodule: Any) -> list[str]:
    """Return the style of every sample in words: its artist, by whatever words a method was asked for it."""
    artists = getattr(datamodule, "artists", ())
    pairs = zip(outputs["artist"].tolist(), outputs["prompt"], strict=True)
    return [str(artists[number]) if number < len(artists) else prompt for number, prompt in pairs]


def _sanity_check_is_whole(trainer: Trainer) -> bool:
    return math.isinf(trainer.num_sanity_val_steps)


def _means(columns: Mapping[str, Tensor]) -> dict[str, float]:
    means = {key: float(column.nanmean()) for key, column in columns.items()}
    return {key: mean for key, mean in means.items() if not math.isnan(mean)}


def _at(names: Any, position: int) -> str:
    return names[position] if position < len(names) else str(position)
