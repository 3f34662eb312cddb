"""A method that draws from words, and its data, small enough that a whole fit takes a second."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_modules.controls import Control, Value
from lightning_modules.generation import GenerativeModule
from lightning_modules.types import PromptBatch


class Dreamer(GenerativeModule):
    """Noise as bright as its prompt is long, and of the colour that a style has learnt."""

    controls: ClassVar = (Control("gain", 1.0, "Brightness.", low=0.0, high=2.0),)

    def __init__(
        self, *, styles: Sequence[str] = ("<grey>",), lr: float = 0.1, controls: dict[str, Value] | None = None
    ) -> None:
        super().__init__(validate_size=(16, 24), controls=controls)
        self.styles = list(styles)
        self.colours = nn.Parameter(torch.full((len(self.styles), 3), 0.5))
        self.lr = lr

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def training_step(self, batch, *_):
        loss = (self.colours[batch.artist] - batch.style.mean((2, 3))).square().mean()
        with self.optimizing(self.optimizers()) as backward:
            backward(loss)
        self.log_terms({"total": loss, "again": loss})

    def adapter_state(self):
        rows = zip(self.styles, self.colours.detach().clone(), strict=True)
        return {style: {style: row[None]} for style, row in rows}

    def _draw(self, prompts, order):
        noise = torch.stack([torch.rand(3, *order.size, generator=generator) for generator in order.generators])
        light = torch.tensor([len(text) / 50 for text in prompts]).view(-1, 1, 1, 1)
        drawn = noise * light * order.controls["gain"] * self.colours[0].view(3, 1, 1)
        return drawn if order.content is None else torch.lerp(order.content, drawn, order.strength)


class Pictures(Dataset):
    """Plain colours by two artists."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> PromptBatch:
        noise = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index))
        prompt = f"a pond in the style of <{'ab'[index % 2]}>"
        return PromptBatch(prompt, torch.tensor(index % 2), torch.tensor(index), noise)


def collate(samples):
    prompt, artist, index, style = zip(*samples, strict=True)
    return PromptBatch(list(prompt), *map(torch.stack, (artist, index, style)))


class PromptData(LightningDataModule):
    """Four batches an epoch, of styles called as two painters whom the embedded judge knows."""

    artists: ClassVar = ("Ada Stipple", "Bruno Carbone")

    def train_dataloader(self):
        return DataLoader(TrainingPictures(8), 2, collate_fn=collate)

    def val_dataloader(self):
        return DataLoader(Pictures(6), 3, collate_fn=collate)

    def test_dataloader(self):
        return self.val_dataloader()


class TrainingPictures(Pictures):
    """By the first artist alone: what learns one style learns his."""

    def __getitem__(self, index: int) -> PromptBatch:
        return super().__getitem__(index)._replace(artist=torch.tensor(0))
