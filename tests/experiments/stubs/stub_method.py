"""A method and a data module small enough that a whole fit takes a second."""

import time
from typing import ClassVar

import torch
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_modules.base import StyleTransferModule
from lightning_modules.controls import Control, Value
from lightning_modules.types import StyleBatch


class Stub(StyleTransferModule):
    """A colour matrix."""

    conditions: ClassVar = frozenset({"image", "text"})

    def __init__(self, *, width: int = 4, lr: float = 0.1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, 3, 1))
        self.lr = lr

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def training_step(self, batch, *_):
        loss = (self.net(batch.content) - batch.style).square().mean()
        with self.optimizing(self.optimizers()) as backward:
            backward(loss)
        self.log_terms({"total": loss})

    def _render(self, content, manner):
        return content + manner.alpha * (self.net(content) - content)


class Samples(Dataset):
    """Noise by six artists' hands."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> StyleBatch:
        content, style = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(index))
        return StyleBatch(content, style, torch.tensor(index % 3), "abc"[index % 3], torch.tensor(index))


def collate(samples):
    content, style, artist, prompt, index, *_ = zip(*samples, strict=True)
    return StyleBatch(*map(torch.stack, (content, style, artist)), list(prompt), torch.stack(index))


class StubData(LightningDataModule):
    """Four batches an epoch."""

    def train_dataloader(self):
        return DataLoader(Samples(8), 2, collate_fn=collate)

    def val_dataloader(self):
        return DataLoader(Samples(6), 3, collate_fn=collate)

    def test_dataloader(self):
        return self.val_dataloader()


class Shader(StyleTransferModule):
    """Needs no training: darkens a region, which it can do without, by a control."""

    conditions: ClassVar = frozenset({"text", "region"})
    controls: ClassVar = (Control("shade", 0.5, "How dark it gets.", low=0.0, high=1.0),)
    trains: ClassVar = False

    def __init__(self, controls: dict[str, Value] | None = None) -> None:
        super().__init__(controls=controls)

    def _render(self, content, manner):
        return content * (1 - manner.controls["shade"])


class Grey(StyleTransferModule):
    """Needs no training: paints the grey that its prompt names."""

    conditions: ClassVar = frozenset({"text", "region"})
    requires: ClassVar = frozenset({"text"})
    trains: ClassVar = False

    def _render(self, content, manner):
        shades = {"black": 0.0, "grey": 100 / 255, "white": 1.0}
        return torch.stack(
            [torch.full_like(one, shades[name]) for one, name in zip(content, manner.prompt, strict=True)]
        )


class Stepper(StyleTransferModule):
    """Needs no training: darkens a picture step by step, as a method does that fits one."""

    conditions: ClassVar = frozenset({"image"})
    controls: ClassVar = (Control("iterations", 4, "Steps.", low=1),)
    trains: ClassVar = False
    optimises: ClassVar = True

    def __init__(self) -> None:
        super().__init__(validate_with="image")

    def _render(self, content, manner):
        steps = manner.controls["iterations"]
        for step in range(steps):
            time.sleep(0.001)
            if self.on_iteration is not None:
                self.on_iteration(step, steps, {})
        return content * manner.style.mean()
