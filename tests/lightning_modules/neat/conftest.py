"""NeAT on an encoder so small that a test takes milliseconds."""

from functools import partial

import pytest
import torch
from torch import nn

from lightning_modules.neat import NeAT
from lightning_modules.neat.patch_pair import PatchSettings
from lightning_modules.neat.prior import PriorSettings
from lightning_modules.types import StyleBatch

PATCHES = PatchSettings(
    size=8, windows=6, each=2, scales=(0.2, 0.4), width=3, max_channels=5, hidden=8, r1=0.8, r1_every=2
)
PRIOR = PriorSettings(gaussian=5, bilateral=7, sigma_color=60.0, sigma_space=3.0)


@pytest.fixture
def small(small_encoder):
    """Return a function that builds a small NeAT."""

    def build(kind=NeAT, **arguments):
        torch.manual_seed(0)
        adam = partial(torch.optim.Adam, lr=1e-3)
        settings = {
            "weights": "random",
            "levels": ("relu4_1", "relu4_1"),
            "prior": PRIOR,
            "patches": PATCHES,
            "patch_optimizer": adam,
            "discriminator_scales": 2,
            "discriminator_width": 4,
        }
        model = kind(adam, adam, **(settings | arguments))
        for part in (model.generator, model.style_head, model.content_head):
            for parameter in part.parameters():
                if (
                    parameter.ndim > 1
                ):  # torch's own start paints all but nothing, and equal pictures contrast with nobody
                    nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        return model

    return build


@pytest.fixture
def batch():
    """Return a function that makes a batch of h contents, h styles and two views of each style."""

    def make(half=3, side=64, seed=1, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)

        def pictures(*shape):
            """More goes on to the lower right, so that windows differ in it."""
            noise = torch.rand(*shape, 3, side, side, generator=generator, dtype=torch.float64)
            noise[..., : side // 2] *= 0.3
            noise[..., : side // 2, :] *= 0.6
            return noise.to(dtype)

        numbers = torch.arange(half)
        names = [f"Artist {n}" for n in range(half)]
        return StyleBatch(pictures(half), pictures(half), numbers, names, numbers, views=pictures(half, 2))

    return make
