"""The pairs that every contender paints: those on which a training with the tiny profile is validated."""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from torch import Tensor

from benchmarks.contenders.stylists import Task, eight_bits
from datamodules.sources import ProceduralArt
from datamodules.style_transfer import StyleTransferDataModule

PROFILE = Path(__file__).resolve().parents[2] / "experiments" / "clast" / "tiny.yaml"
SETTINGS = ("val_size", "pairs_per_content")


class HeldOut(NamedTuple):
    """Pairs of ProceduralArt's validation split, or of that and the test split, of which no training has seen a side.

    Attributes:
        tasks: Content, style painting of another content, and the painter's name.
        truths: The contents as these painters painted them, ``(N, 3, H, W)``, uint8.
        artists: The painters' numbers, ``(N,)``, int64.
    """

    tasks: list[Task]
    truths: Tensor
    artists: Tensor

    @property
    def contents(self) -> Tensor:
        """Return all contents, ``(N, 3, H, W)``, uint8."""
        return torch.stack([task.content for task in self.tasks])

    @property
    def styles(self) -> Tensor:
        """Return all style paintings, ``(N, 3, H, W)``, uint8."""
        return torch.stack([task.style for task in self.tasks])

    def first_style(self) -> dict[str, Tensor]:
        """Return one style painting of every painter, by name, in the order of their numbers."""
        first: dict[tuple[int, str], Tensor] = {}
        for task, number in zip(self.tasks, self.artists.tolist(), strict=True):
            first.setdefault((number, str(task.prompt)), task.style)
        return {name: first[number, name] for number, name in sorted(first)}


def open_data(source: ProceduralArt, *, every: bool = False) -> StyleTransferDataModule:
    """Return the data module of the tiny profile, ready to validate; what is missing of the pictures is painted.

    Args:
        source: The pictures.
        every: Pair every content with every painter, and the contents of the test split too.
    """
    profile = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))["data"]["init_args"]
    settings = {name: profile[name] for name in SETTINGS} | ({"pairs_per_content": None} if every else {})
    data = StyleTransferDataModule(source, source, workers=0, **settings)
    data.prepare_data()
    data.setup("validate")
    if every:
        data.setup("test")
    return data


def read_pairs(data: StyleTransferDataModule, *, every: bool = False) -> HeldOut:
    """Read the validation pairs of a data module, and those of its test split where ``every`` pair is wanted."""
    tasks, truths, artists = [], [], []
    loaders = [data.val_dataloader(), *([data.test_dataloader()] if every else [])]
    for batch in chain.from_iterable(loaders):
        pictures = (eight_bits(images) for images in (batch.content, batch.style))
        tasks += [Task(*parts) for parts in zip(*pictures, batch.prompt, strict=True)]
        truths.append(eight_bits(batch.truth))
        artists.append(batch.artist)
    return HeldOut(tasks, torch.cat(truths), torch.cat(artists))
