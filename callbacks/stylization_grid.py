"""StylizationGrid: a labelled picture of what the method does now, after every validation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from datamodules.images import write_image

GAP = 6
CAPTION = 22
INK = (40, 40, 40)
COLUMNS = {"content": "content", "mask": "region", "style": "condition", "stylized": "stylized", "truth": "truth"}
"""From field to column title, from left to right."""
DRAWN = {"stylized": "drawn", "style": "by the artist", "truth": "truth"}
"""The same of pictures that were drawn from words alone."""
LAYOUT = "impasto:grid"
"""Keyword of the text in a grid's PNG that says where its pictures are."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


@dataclass(frozen=True)
class Sample:
    """One row of the grid.

    Attributes:
        pictures: ``(3, H, W)``, uint8, by the names of the columns, as far as the method has them.
        artist: Label.
        prompt: Caption.
        notes: Captions of single pictures, by the same names, in place of ``prompt``.
        index: Its position in its split, where it has one.
    """

    pictures: Mapping[str, Tensor]
    artist: int
    prompt: str
    notes: Mapping[str, str] = field(default_factory=dict)
    index: int = -1


class StylizationGrid(Callback):
    """Draw content | region | condition | stylized | truth into ``samples/<iteration>.png`` of the run, and log it.

    A column that the validation does not bring is left out. Where it brings no contents, the columns are drawn | what
    other callbacks put beside it | a picture by the artist | truth.

    Args:
        samples: Rows; the artists take turns, whatever the order of the validation set.
        every_n_validations: Draw after every n-th validation only.
        cell: Side of one cell in pixels; pictures are fitted into it.
    """

    def __init__(self, samples: int = 8, every_n_validations: int = 1, cell: int = 192) -> None:
        self.samples = samples
        self.every_n_validations = every_n_validations
        self.cell = cell
        self._chosen: list[Sample] = []
        self._beside: list[str] = []
        self._validations = 0

    @property
    def chosen(self) -> Sequence[Sample]:
        """The rows so far; complete when a validation's epoch ends, and drawn thereafter."""
        return self._chosen

    def put_beside(self, title: str, pictures: Mapping[int, Tensor]) -> None:
        """Add a column to this validation's grid, right of what the method made.

        Args:
            title: Of the column.
            pictures: From a row's index to ``(3, H, W)``, RGB in [0, 1].
        """
        self._beside.append(title)
        self._chosen = [
            replace(row, pictures={**row.pictures, title: _bytes(pictures[row.index])})
            if row.index in pictures
            else row
            for row in self._chosen
        ]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Forget the last validation's samples."""
        self._chosen, self._beside = [], []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Choose from this batch."""
        if (
            trainer.is_global_zero
            and not trainer.sanity_checking
            and isinstance(outputs, dict)
            and "stylized" in outputs
        ):
            self._chosen = choose([*self._chosen, *split(outputs)], self.samples)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Draw, write and log."""
        folder = trainer.log_dir  # asks every rank
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._validations += 1
        if not self._chosen or (self._validations - 1) % self.every_n_validations or folder is None:
            return
        path = Path(folder) / "samples" / f"{trainer.global_step:06d}.png"
        titles = self._titles()
        grid = draw_grid(self._chosen, self.cell, titles)
        write_image(grid, path, {LAYOUT: json.dumps(describe_grid(self._chosen, self.cell, titles))})
        log_picture(trainer, "samples", grid, path)

    def _titles(self) -> dict[str, str]:
        titles = titles_of(self._chosen)
        before = list(titles).index("stylized") + 1
        names = [*list(titles)[:before], *self._beside, *list(titles)[before:]]
        return {name: titles.get(name, name) for name in names}


def log_picture(trainer: Trainer, name: str, picture: Tensor, path: Path) -> None:
    """Give a picture ``(3, H, W)`` in [0, 1], which lies at ``path``, to the loggers that show pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, trainer.global_step)


def split(outputs: Any) -> list[Sample]:
    """Return the samples of a `Stylization`, in 8 bits and on the CPU."""
    there = {name: _bytes(outputs[name]) for name in COLUMNS if name in outputs}
    captions = zip(outputs["artist"].tolist(), outputs["prompt"], outputs["index"].tolist(), strict=True)
    return [
        Sample({name: pictures[row] for name, pictures in there.items()}, artist, prompt, index=index)
        for row, (artist, prompt, index) in enumerate(captions)
    ]


def choose(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most ``count`` samples in which no artist has two more than another, the earlier samples first.

    Among an artist's samples those come first whose content no other row shows yet; without contents, the earlier ones.
    """
    chosen: list[Sample] = []
    rest = list(samples)
    while rest and len(chosen) < count:
        seen = [sample.artist for sample in chosen]
        shown = [sample.pictures["content"] for sample in chosen if "content" in sample.pictures]

        def rank(sample: Sample, seen: list[int] = seen, shown: list[Tensor] = shown) -> tuple[int, bool]:
            content = sample.pictures.get("content")
            return seen.count(sample.artist), any(content is not None and torch.equal(content, c) for c in shown)

        best = min(rest, key=rank)
        rest = [sample for sample in rest if sample is not best]
        chosen.append(best)
    return chosen


def titles_of(samples: Sequence[Sample]) -> Mapping[str, str]:
    """Return the columns of samples: those of pictures that were drawn from words, where none has a content."""
    return COLUMNS if any("content" in sample.pictures for sample in samples) else DRAWN


def draw_grid(samples: Sequence[Sample], cell: int, titles: Mapping[str, str] | None = None) -> Tensor:
    """Draw one row per sample under column titles.

    Args:
        samples: The rows, at least one.
        cell: Side of one picture in pixels.
        titles: From the name of a picture to the title of its column, from left to right; by default `titles_of`.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    titles = titles_of(samples) if titles is None else titles
    columns = _columns(samples, titles)
    placed = _placed(samples, columns, cell)
    size = (len(columns) * (cell + GAP) + GAP, _bottom(placed[-1]) + CAPTION + GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for column, name in enumerate(columns):
        pen.text((GAP + column * (cell + GAP), 4), _fit(titles[name], font, cell), INK, font=font)
    for sample, boxes in zip(samples, placed, strict=True):
        for name, (left, top, right, bottom) in boxes.items():
            sheet.paste(_fitted(sample.pictures[name], (right - left, bottom - top)), (left, top))
        for column, text, cells in _captions(sample, columns):
            fitted = (_fit if cells < len(columns) else _fit_middle)(text, font, cells * cell)
            pen.text((GAP + column * (cell + GAP), _bottom(boxes) + 2), fitted, INK, font=font)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1).float() / 255


def describe_grid(samples: Sequence[Sample], cell: int, titles: Mapping[str, str]) -> dict[str, Any]:
    """Say where the pictures are that `draw_grid` draws of the same arguments.

    Returns:
        What JSON takes: ``columns``, from name to title, and ``rows``, each with ``index``, ``artist``, ``prompt`` and
        ``boxes``, from the name of a column to left, top, right and bottom in pixels.
    """
    columns = _columns(samples, titles)
    return {
        "columns": {name: titles[name] for name in columns},
        "rows": [
            {"index": sample.index, "artist": sample.artist, "prompt": sample.prompt, "boxes": boxes}
            for sample, boxes in zip(samples, _placed(samples, columns, cell), strict=True)
        ],
    }


def _columns(samples: Sequence[Sample], titles: Mapping[str, str]) -> list[str]:
    return [name for name in titles if any(name in sample.pictures for sample in samples)]


def _placed(samples: Sequence[Sample], columns: Sequence[str], cell: int) -> list[dict[str, Box]]:
    """Return where each row's pictures go: fitted into their cells, in the middle of them."""
    placed, top = [], CAPTION
    for sample in samples:
        sizes = {name: _size(picture, cell) for name, picture in sample.pictures.items() if name in columns}
        row = max(height for _, height in sizes.values())
        boxes = {}
        for name, (width, height) in sizes.items():
            left, down = GAP + columns.index(name) * (cell + GAP) + (cell - width) // 2, top + (row - height) // 2
            boxes[name] = (left, down, left + width, down + height)
        placed.append(boxes)
        top += row + CAPTION + GAP
    return placed


def _bottom(boxes: Mapping[str, Box]) -> int:
    return max(bottom for *_, bottom in boxes.values())


def _captions(sample: Sample, columns: Sequence[str]) -> list[tuple[int, str, int]]:
    """Return column, text and width in cells of what stands under a row."""
    if sample.notes:
        return [(columns.index(name), text, 1) for name, text in sample.notes.items()]
    if columns[0] == "stylized":  # it was drawn from the prompt, under which all stand
        return [(0, sample.prompt, len(columns))]
    under = min(1, len(columns) - 1)  # under the condition, where there is room for two cells
    return [(under, sample.prompt, min(2, len(columns) - under))]


def _size(picture: Tensor, side: int) -> tuple[int, int]:
    height, width = picture.shape[-2:]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fitted(picture: Tensor, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(picture.permute(1, 2, 0).numpy()).resize(size, Image.Resampling.LANCZOS)


def _fit(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _fit_middle(text: str, font: Any, width: int) -> str:
    """Shorten a text in its middle: what is drawn stands at the beginning of a prompt, and its style at the end."""
    if font.getlength(text) <= width:
        return text
    begin, end = text[: len(text) // 2], text[len(text) // 2 :]
    while begin and font.getlength(f"{begin}…{end}") > width:
        begin, end = begin[:-1], end[1:]
    return f"{begin}…{end}"


def _bytes(image: Tensor) -> Tensor:
    coloured = image.expand(*image.shape[:-3], 3, *image.shape[-2:])  # masks have one channel
    return (coloured.detach().float().clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu()
