import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lightning_modules.networks.latent_diffusion import TINY, build_diffusion
from lightning_modules.nsync import NSYNC
from lightning_modules.prompts import STYLED, UNSTYLED, styled, unstyled
from lightning_modules.types import TripletBatch

SIDE = 32
CAPTIONS = ("a photo of the sea", "apples on a table", "mountains at dusk", "a city skyline")


class Triplets(LightningDataModule):
    """Batches of noise: positives and anchors are pictures 0 to 3, negatives 4 to 7."""

    def __init__(self, placeholders, *, batch=2, steps=4, styles=None, denied=False, decode=True):
        super().__init__()
        self.placeholders, self.artists = list(placeholders), list(placeholders)
        self.negative_suffix = UNSTYLED if denied else STYLED
        self.pictures = list(torch.rand(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)))
        self.fingerprint, self.decode = "noise", decode
        self.batch, self.steps, self.styles = batch, steps, styles or [0] * batch

    def one(self, number):
        draw = torch.Generator().manual_seed(number)
        positive, anchor = torch.randint(4, (2, self.batch), generator=draw)
        picture = torch.stack([positive, anchor, positive + 4], 1)
        flip = torch.rand(self.batch, 3, generator=draw) < 0.5
        names = [self.placeholders[style] for style in self.styles]
        deny = unstyled if self.negative_suffix == UNSTYLED else styled
        captions = [[CAPTIONS[i] for i in numbers.tolist()] for numbers in (positive, anchor)]
        prompts = [list(map(styled, words, names)) for words in captions]
        images = torch.stack([torch.stack([self.pictures[i] for i in row]) for row in picture.tolist()])
        images = torch.where(flip[..., None, None, None], images.flip(-1), images)
        return TripletBatch(
            picture=picture,
            flip=flip,
            caption=prompts[0],
            anchor_caption=prompts[1],
            negative_caption=list(map(deny, captions[0], names)),
            artist=torch.tensor(self.styles),
            prompt=prompts[0],
            index=torch.arange(self.batch),
            images=images if self.decode else None,
        )

    def train_dataloader(self):
        return DataLoader([self.one(number) for number in range(self.steps)], batch_size=None)


UNET = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [16, 32],
    "norm_num_groups": 8,
}


@pytest.fixture(scope="session")
def parts():
    """Return the tiny pipeline with a tinier UNet and random weights; nobody changes it."""
    torch.manual_seed(0)
    return build_diffusion(TINY | {"unet": TINY["unet"] | UNET}, "random")


@pytest.fixture
def triplets():
    """Return the class of a data module of noise."""
    return Triplets


@pytest.fixture
def nsync(monkeypatch, parts):
    """Return a function that builds the module on the tiny pipeline of random weights."""
    monkeypatch.setattr("lightning_modules.nsync.module.load_diffusion", lambda *_: copy.deepcopy(parts))

    def build(*placeholders, seed=0, lr=1e-2, **settings):
        torch.manual_seed(seed)
        adam = partial(torch.optim.AdamW, lr=lr, weight_decay=0.0)
        defaults = {"weights": "random", "validate_size": (SIDE, SIDE)}
        return NSYNC(adam, placeholders=placeholders or ["<mine>"], **(defaults | settings))

    return build
