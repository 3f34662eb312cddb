"""LEAST on a CLIP and a VGG so small that a test takes milliseconds."""

from functools import partial

import pytest
import torch
from torch import nn

from lightning_modules.least import LEAST, module
from lightning_modules.least.fitting import Fitting, Plan
from lightning_modules.least.jobs import Order
from lightning_modules.least.lens import Lens
from lightning_modules.least.settings import Canvas, Patches, Structure
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk

CLIP_SIDE = 32
SIZE = (40, 56)


class Letters:
    """A tokenizer of single letters."""

    context_length = 64

    def encode(self, text):
        return [1 + ord(letter) % 60 for letter in text][:62]

    def __call__(self, texts):
        rows = [[61, *self.encode(text), 63] for text in texts]
        return torch.tensor([row + [0] * (self.context_length - len(row)) for row in rows])


def small_clip(*_, **__):
    import open_clip

    with torch.random.fork_rng():
        torch.manual_seed(0)
        vision = {"layers": 2, "width": 32, "patch_size": 8, "image_size": CLIP_SIDE, "head_width": 16}
        text = {"context_length": 64, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2}
        network = open_clip.CLIP(16, vision, text)
    return CLIPEncoder(network, Letters(), "random")


def small_vgg(*_, **__):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = VGGTrunk(VGGConfig(widths=(4, 6, 8, 12, 12)))
        for conv in trunk.convs.values():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return VGGEncoder(trunk, "random")


@pytest.fixture(scope="session")
def lens():
    """Return small frozen networks in float64."""
    return Lens(small_clip().double(), small_vgg().double())


CANVAS = Canvas(size=64, crop=False)
PATCHES = Patches(count=6, size=20)
STRUCTURE = Structure(size=48)


@pytest.fixture
def fitting(lens):
    """Return a function that builds a small `Fitting` in float64."""

    def build(begin=None, lens=lens, **plan):
        settings = {"canvas": CANVAS, "patches": PATCHES, "structure": STRUCTURE, "templates": ("{}", "a {}.")}
        return Fitting(lens, Plan(**(settings | plan)), begin)

    return build


@pytest.fixture
def order():
    """Return a function that makes an order of random pictures with a region in each."""

    def make(jobs=1, size=(64, 64), dtype=torch.float64, **more):
        generator = torch.Generator().manual_seed(5)
        content = torch.rand(jobs, 3, *size, generator=generator, dtype=dtype)
        mask = torch.zeros(jobs, 1, *size, dtype=dtype)
        for job in range(jobs):
            mask[job, :, 10 + 3 * job : 10 + size[0] // 2, 6 : size[1] // 2 + 5 * job] = 1
        return Order(content, mask, [f"style {job}" for job in range(jobs)], **more)

    return make


@pytest.fixture
def small(monkeypatch):
    """Return a function that builds a small LEAST, two iterations a job."""
    monkeypatch.setattr(module, "load_clip", small_clip)
    monkeypatch.setattr(module, "load_vgg", small_vgg)

    def build(**arguments):
        settings = {
            "optimizer": partial(torch.optim.Adam, lr=5e-3),
            "weights": "random",
            "canvas": Canvas(size=32),
            "patches": Patches(count=3, size=16),
            "structure": Structure(size=32),
            "templates": "plain",
            "controls": {"iterations": 2},
        }
        torch.manual_seed(0)
        return LEAST(**(settings | arguments))

    return build


@pytest.fixture
def clipped():
    """Return settings under which `small` clips every step, and which notice it: Adam would hide a factor."""
    return {"optimizer": partial(torch.optim.SGD, lr=1e-2), "clip": 0.1, "controls": {"iterations": 3}}


@pytest.fixture
def pictures():
    """Return a function that makes random pictures."""

    def make(count=1, size=SIZE, seed=0):
        return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def region():
    """Return a function that makes masks, none like the other."""

    def make(count=1, size=SIZE):
        mask = torch.zeros(count, 1, *size)
        for number in range(count):
            mask[number, :, 8 : 30 - number, 10 + 3 * number : 40] = 1
        return mask

    return make


@pytest.fixture
def in_float64():
    """Return a function that takes rounding away: Adam's first steps are signs, also of what is nearly 0."""

    def cast(*models):
        for model in models:
            model.load_loss_networks()
            model.double()

    return cast
