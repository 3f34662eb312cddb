"""The contract of methods that draw from words, on a toy."""

from typing import NamedTuple

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from callbacks.stylization_grid import StylizationGrid
from lightning_modules.controls import Control
from lightning_modules.errors import ImpastoError
from lightning_modules.generation import GenerativeModule


class Prompts(NamedTuple):
    """A batch of its own: no contents, no style pictures."""

    artist: torch.Tensor
    prompt: list[str]
    index: torch.Tensor


class Dreamer(GenerativeModule):
    """Noise whose brightness is the length of the prompt."""

    controls = (Control("gain", 1.0, "Brightness.", low=0.0, high=2.0),)

    def __init__(self, **settings):
        super().__init__(**settings)
        self.scale = nn.Parameter(torch.ones(()))

    def _draw(self, prompts, order):
        noise = torch.stack([torch.rand(3, *order.size, generator=generator) for generator in order.generators])
        light = torch.tensor([len(text) / 100 for text in prompts]).view(-1, 1, 1, 1)
        drawn = (noise * light * order.controls["gain"]) * self.scale
        return drawn if order.content is None else torch.lerp(order.content, drawn, order.strength)

    def training_step(self, batch, batch_idx):
        raise NotImplementedError


def test_a_picture_depends_on_its_own_prompt_and_seed_alone():
    dreamer = Dreamer()
    both = dreamer.generate(["abc", "defgh"], size=(16, 24), seed=[5, 9])
    assert both.shape == (2, 3, 16, 24)
    assert both.dtype == torch.float32
    assert not both.requires_grad
    assert torch.equal(both[1:], dreamer.generate("defgh", size=(16, 24), seed=9))
    assert not torch.equal(both[:1], dreamer.generate("abc", size=(16, 24), seed=6))
    assert torch.equal(dreamer.generate(["a", "a"], size=16, seed=3)[1:], dreamer.generate("a", size=16, seed=4))


def test_a_picture_to_start_from_and_controls():
    dreamer, content = Dreamer(), torch.rand(1, 3, 16, 16)
    kept = dreamer.generate("abc", size=16, seed=0, content=content, strength=0.0)
    assert torch.equal(kept, content)
    plain, bright = (dreamer.generate("abc", size=16, seed=0, controls={"gain": gain}) for gain in (1, 2))
    assert torch.allclose(bright, 2 * plain)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompts": []}, "a prompt for every picture"),
        ({"prompts": ["a", " "]}, "a prompt for every picture"),
        ({"size": 20}, "multiples of 8 pixels, not 20 x 20"),
        ({"size": 0}, "multiples of 8 pixels"),
        ({"seed": [1, 2]}, "2 seeds were given for 1 prompts"),
        ({"content": torch.rand(1, 3, 8, 16)}, "16 x 8 pixels, not the 16 x 16"),
        ({"content": torch.rand(2, 3, 16, 16)}, "2 content images were given for 1 prompts"),
        ({"content": 255 * torch.ones(1, 3, 16, 16)}, "[0, 1]"),
        ({"strength": 1.5}, "strength must lie in [0, 1]"),
        ({"controls": {"gian": 1}}, "no control 'gian'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(arguments, words):
    with pytest.raises(ImpastoError, match=r"^[^\n]+$") as failure:
        Dreamer().generate(**({"prompts": "a", "size": 16, "seed": 0} | arguments))
    assert words in str(failure.value)


class Keep(Callback):
    """Keeps what the last validation step returned."""

    def on_validation_batch_end(self, trainer, pl_module, outputs, *args):
        self.output = outputs


def test_callbacks_take_a_validation_without_contents_and_styles(quiet_trainer, tmp_path):
    from experiments.runs.table import RunTable

    batch = Prompts(torch.tensor([0, 1]), ["abc", "de"], torch.tensor([7, 4]))
    keep, dreamer = Keep(), Dreamer(validate_size=(16, 16))
    logger = RunTable(tmp_path, name="dreamer", version="a")
    trainer = quiet_trainer(logger=logger, callbacks=[keep, StylizationGrid(cell=32)])
    trainer.validate(dreamer, DataLoader([batch], batch_size=None), verbose=False)
    assert set(keep.output) == {"stylized", "artist", "prompt", "index"}
    assert torch.equal(keep.output["stylized"], dreamer.generate(batch.prompt, size=16, seed=[7, 4]))
    assert len(list((tmp_path / "dreamer/a/samples").glob("*.png"))) == 1
