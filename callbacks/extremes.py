"""The best and the worst samples of every metric, found among all ranks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from callbacks.stylization_grid import COLUMNS, Sample, split
from lightning_modules.types import Stylization

Scores = dict[str, dict[int, float]]


@dataclass(frozen=True)
class Case:
    """A sample and the value that makes it worth showing."""

    value: float
    sample: Sample


class Extremes:
    """Keeps, batch by batch, the pictures that may turn out to be the best or the worst of a metric.

    At most twice ``count`` samples of each metric are held, on the CPU and shrunk, however long the validation is.

    Args:
        count: Best and worst samples to keep of each metric.
        cell: Longest side in pixels of the pictures kept.
    """

    def __init__(self, count: int, cell: int) -> None:
        self.count = count
        self.cell = cell
        self._scores: Scores = {}
        self._samples: dict[int, Sample] = {}

    def add(self, outputs: Stylization, values: Mapping[str, Tensor]) -> None:
        """Take a batch.

        Args:
            outputs: The pictures.
            values: Metric to one value per sample, ``(B,)``; nan where it has none.
        """
        indices = outputs["index"].tolist()
        for name, column in values.items():
            scores = zip(indices, column.tolist(), strict=True)
            fresh = {index: value for index, value in scores if not math.isnan(value)}
            self._scores[name] = self._ends(self._scores.get(name, {}) | fresh)
        wanted = {index for scores in self._scores.values() for index in scores}
        for row, index in enumerate(indices):
            if index in wanted and index not in self._samples:
                self._samples[index] = split(self._shrunk(outputs, row))[0]
        self._samples = {index: sample for index, sample in self._samples.items() if index in wanted}

    def gather(self) -> dict[str, list[Case]]:
        """Return the best and worst of all ranks, from low to high values; every rank must ask."""
        everywhere = [(self._scores, self._samples)]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            everywhere = [({}, {}) for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(everywhere, (self._scores, self._samples))
        samples = {index: sample for _, held in everywhere for index, sample in held.items()}
        found = {}
        for name in dict.fromkeys(name for scores, _ in everywhere for name in scores):
            union = {index: value for scores, _ in everywhere for index, value in scores.get(name, {}).items()}
            found[name] = [Case(value, samples[index]) for index, value in self._ends(union).items()]
        return found

    def _ends(self, scores: dict[int, float]) -> dict[int, float]:
        ordered = sorted(scores.items(), key=lambda item: (item[1], item[0]))
        return dict(ordered if len(ordered) <= 2 * self.count else ordered[: self.count] + ordered[-self.count :])

    def _shrunk(self, outputs: Stylization, row: int) -> Stylization:
        pictures = {name: self._fit(outputs[name][row]) for name in COLUMNS if name in outputs}  # type: ignore[literal-required]
        one = slice(row, row + 1)
        labels = {name: outputs[name][one] for name in ("artist", "prompt", "index")}
        return cast(Stylization, pictures | labels)

    def _fit(self, picture: Tensor) -> Tensor:
        picture = picture.detach().float()[None]
        scale = self.cell / max(picture.shape[-2:])
        if scale >= 1:
            return picture
        height, width = (max(1, round(side * scale)) for side in picture.shape[-2:])
        return F.interpolate(picture, (height, width), mode="bilinear", antialias=True)


def captioned(cases: list[Case], *, higher_is_better: bool) -> list[Sample]:
    """Return the samples as rows of a grid, the worst first; each caption says its value and which end it is of.

    Args:
        cases: From low to high values; the worse half and the better half.
        higher_is_better: Whether the last are the best.
    """
    ordered = cases if higher_is_better else cases[::-1]
    worst = (len(ordered) + 1) // 2
    return [
        replace(case.sample, prompt=f"{'worst' if row < worst else 'best'}, {case.value:.4g}: {case.sample.prompt}")
        for row, case in enumerate(ordered)
    ]
