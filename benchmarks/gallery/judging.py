"""The judges, the same for every contender, and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gallery.held_out import HeldOut
from lightning_modules.weights import WeightsSource
from metrics.base import PictureMetric
from metrics.catalogue import Judges, make_metrics
from metrics.collection import StyleMetricCollection
from metrics.deception import DeceptionRate
from metrics.panel import Panel
from metrics.way import WayToTruth

BATCH = 6
COLUMNS: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "deception": ("deception", None),
    "deception_closed": ("deception_closed", None),
    "ssim_content": ("ssim", None),
    "lpips_content": ("lpips", None),
    "lpips_truth": ("lpips", ("stylized", "truth")),
    "style_loss": ("style_loss", None),
    "halo": ("halo", None),
    "halo_truth": ("halo", ("stylized", "content", "truth")),
}
"""From the name of a figure to its metric in `metrics.catalogue`, and to what is compared where that is not its own."""


@dataclass
class Verdict:
    """What the judges say of one contender.

    Attributes:
        name: Of the contender.
        figures: Means over all pairs, by key.
        painters: Figures painter by painter: share of pictures that are named right, and what else there is.
        notes: What stands under each picture.
    """

    name: str
    figures: dict[str, float]
    painters: dict[str, dict[str, float]]
    notes: list[str]

    def line(self) -> str:
        """Return the figures in one line."""
        return f"{self.name:<26}" + "  ".join(f"{key} {value:z.3f}" for key, value in self.figures.items())


def assemble(panel: Panel | None, weights: WeightsSource) -> StyleMetricCollection:
    """Return the judges.

    Args:
        panel: The independent one, where there is one.
        weights: Of the networks behind LPIPS and the style loss.
    """
    judges = Judges(weights)
    found = make_metrics([metric for metric, _ in COLUMNS.values()], judges)
    metrics: dict[str, PictureMetric] = {}
    if panel is not None:
        metrics |= {"panel_named": DeceptionRate(panel), "panel_way": WayToTruth(panel)}
    metrics |= {name: found[metric] for name, (metric, _) in COLUMNS.items()}
    metrics["way"] = WayToTruth(judges.network("artist"))
    return StyleMetricCollection(metrics, {name: fields for name, (_, fields) in COLUMNS.items() if fields})


class Jury:
    """Judges pictures of the held-out pairs.

    Args:
        pairs: The pairs.
        collection: The judges.
        named: Of these the one whose word stands under the pictures: 1 where it names the painter.
        way: And the one whose way from content to truth does.
    """

    def __init__(self, pairs: HeldOut, collection: StyleMetricCollection, named: str, way: str) -> None:
        self.pairs = pairs
        self.named, self.way = named, way
        self._collection = collection

    def conventions(self) -> dict[str, str]:
        """Return for every figure how it is computed, in one line."""
        return self._collection.conventions()

    def judge(self, name: str, pictures: Tensor) -> Verdict:
        """Judge one contender.

        Args:
            name: Who painted.
            pictures: One of every pair, ``(N, 3, H, W)``, uint8.
        """
        sides = {"content": self.pairs.contents, "style": self.pairs.styles, "truth": self.pairs.truths}
        prompts = [str(task.prompt) for task in self.pairs.tasks]
        self._collection.reset()
        for start in range(0, len(pictures), BATCH):
            part = slice(start, start + BATCH)
            fields = {side: images[part] for side, images in sides.items()} | {"prompt": prompts[part]}
            positions = torch.arange(len(pictures))[part]
            self._collection.update(index=positions, artist=self.pairs.artists[part], stylized=pictures[part], **fields)
        _, _, columns = self._collection.table()
        figures = {key: float(value) for key, value in self._collection.compute().items() if not value.isnan()}
        named, ways = (columns[self._collection.key(column)].tolist() for column in (self.named, self.way))
        notes = [f"{'named' if hit else 'not named'}, way {way:z.2f}" for hit, way in zip(named, ways, strict=True)]
        return Verdict(name, figures, {self.named: _by_painter(prompts, named)}, notes)


def markdown(verdicts: Sequence[Verdict], conventions: Mapping[str, str]) -> str:
    """Return a table with a row a contender, and below it how each figure is computed.

    Args:
        verdicts: The rows.
        conventions: The columns.
    """
    lines = ["| | " + " | ".join(conventions) + " |", "|---|" + "---:|" * len(conventions)]
    for verdict in verdicts:
        cells = (f"{verdict.figures[key]:z.3f}" if key in verdict.figures else "" for key in conventions)
        lines.append(f"| {verdict.name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"- `{key}`: {text}" for key, text in conventions.items())]) + "\n"


def _by_painter(names: Sequence[str], hits: Sequence[float]) -> dict[str, float]:
    shares: dict[str, list[float]] = {}
    for name, hit in zip(names, hits, strict=True):
        shares.setdefault(name, []).append(hit)
    return {name: sum(each) / len(each) for name, each in sorted(shares.items())}
