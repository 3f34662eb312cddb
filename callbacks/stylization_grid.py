"""StylizationGrid: a labelled picture of what the method does now, after every validation."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Sample:
    """One row of the grid; images ``(3, H, W)``, uint8."""

    content: Tensor
    style: Tensor
    stylized: Tensor
    truth: Tensor | None
    artist: int
    prompt: str


class StylizationGrid(Callback):
    """Draw content | condition | stylized | truth into ``samples/<iteration>.png`` of the run, and log it.

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
        self._validations = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Forget the last validation's samples."""
        self._chosen = []

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
        if trainer.is_global_zero and not trainer.sanity_checking and isinstance(outputs, dict):
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
        grid = draw_grid(self._chosen, self.cell)
        write_image(grid, path)
        log_picture(trainer, "samples", grid, path)


def log_picture(trainer: Trainer, name: str, picture: Tensor, path: Path) -> None:
    """Give a picture ``(3, H, W)`` in [0, 1], which lies at ``path``, to the loggers that show pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step=trainer.global_step)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, trainer.global_step)


def split(outputs: Any) -> list[Sample]:
    """Return the samples of a `Stylization`, in 8 bits and on the CPU."""
    truths = outputs["truth"] if "truth" in outputs else [None] * len(outputs["content"])
    rows = zip(
        outputs["content"],
        outputs["style"],
        outputs["stylized"],
        truths,
        outputs["artist"].tolist(),
        outputs["prompt"],
        strict=True,
    )
    return [
        Sample(_bytes(content), _bytes(style), _bytes(stylized), None if t is None else _bytes(t), artist, prompt)
        for content, style, stylized, t, artist, prompt in rows
    ]


def choose(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return at most ``count`` samples in which no artist has two more than another, the earlier samples first.

    Among an artist's samples those come first whose content no other row shows yet.
    """
    chosen: list[Sample] = []
    rest = list(samples)
    while rest and len(chosen) < count:
        seen = [sample.artist for sample in chosen]
        shown = [sample.content for sample in chosen]

        def rank(sample: Sample, seen: list[int] = seen, shown: list[Tensor] = shown) -> tuple[int, bool]:
            return seen.count(sample.artist), any(torch.equal(sample.content, other) for other in shown)

        best = min(rest, key=rank)
        rest = [sample for sample in rest if sample is not best]
        chosen.append(best)
    return chosen


def draw_grid(samples: Sequence[Sample], cell: int) -> Tensor:
    """Draw one row per sample under column titles.

    Args:
        samples: The rows, at least one.
        cell: Side of one picture in pixels.

    Returns:
        ``(3, H, W)`` in [0, 1].
    """
    columns = ["content", "condition", "stylized"] + ["truth"] * any(s.truth is not None for s in samples)
    rows = [[_fitted(p, cell) for p in (s.content, s.style, s.stylized, s.truth) if p is not None] for s in samples]
    heights = [max(picture.height for picture in row) for row in rows]
    size = (len(columns) * (cell + GAP) + GAP, CAPTION + sum(heights) + len(rows) * (CAPTION + GAP))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for column, title in enumerate(columns):
        pen.text((GAP + column * (cell + GAP), 4), title, INK, font=font)
    top = CAPTION
    for sample, row, height in zip(samples, rows, heights, strict=True):
        for column, picture in enumerate(row):
            left = GAP + column * (cell + GAP) + (cell - picture.width) // 2
            sheet.paste(picture, (left, top + (height - picture.height) // 2))
        pen.text((GAP + cell + GAP, top + height + 2), _fit(sample.prompt, font, 2 * cell), INK, font=font)
        top += height + CAPTION + GAP
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1).float() / 255


def _fitted(picture: Tensor, side: int) -> Image.Image:
    image = Image.fromarray(picture.permute(1, 2, 0).numpy())
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _fit(text: str, font: Any, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _bytes(image: Tensor) -> Tensor:
    return (image.detach().float().clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu()
