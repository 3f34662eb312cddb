import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.controls import Control
from lightning_modules.generation import GenerativeModule

sys.path.insert(0, str(Path(__file__).parent / "stubs"))  # which ranks that a test spawns inherit

ARTISTS = ("Ada Stipple", "Bruno Carbone")


class Prompts(NamedTuple):
    """A batch of prompts with real pictures of their artists."""

    prompt: list[str]
    artist: torch.Tensor
    index: torch.Tensor
    style: torch.Tensor


class Dreamer(GenerativeModule):
    """Noise whose brightness is learnt, and called like styles."""

    controls = (Control("steps", 7, "Steps.", low=1), Control("guidance", 3.5, "Guidance."))

    def __init__(self, styles=("<ada-stipple>",), rows=1, **settings):
        super().__init__(validate_size=(32, 40), **settings)
        self.styles = styles
        self.light = nn.Parameter(torch.full((rows, 3), 0.25))
        self.recipe = "{class_path: Dreamer, init_args: {variant: CTOA, model: some/model, weights: random}}"

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, _):
        loss = (self.light - 1).square().mean()
        with self.optimizing(self.optimizers()) as backward:
            backward(loss)
        self.log_terms({"total": loss})

    def adapter_state(self):
        return {style: {style: self.light.detach().clone()} for style in self.styles}

    def _draw(self, prompts, order):
        noise = torch.stack([torch.rand(3, *order.size, generator=generator) for generator in order.generators])
        return noise * self.light[0].view(3, 1, 1)


def batches():
    """Return two batches of two prompts, and the pictures that they are compared with."""
    real = torch.rand(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    return [
        Prompts(
            [f"a pond in the style of <{ARTISTS[number % 2]}>" for number in numbers],
            torch.tensor([number % 2 for number in numbers]),
            torch.tensor(numbers),
            real[numbers],
        )
        for numbers in ([0, 1], [2, 3])
    ]


@pytest.fixture
def dreaming():
    """Return a toy that draws from words: its class, its data as a loader, and its artists' names."""
    return SimpleNamespace(Dreamer=Dreamer, loader=lambda: DataLoader(batches(), batch_size=None), artists=ARTISTS)
