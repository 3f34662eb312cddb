"""ContraAST on an encoder so small that a test takes milliseconds."""

from functools import partial

import pytest
import torch
from torch import nn

from lightning_modules.contraast import ContraAST
from lightning_modules.types import StyleBatch


@pytest.fixture
def small(small_encoder):
    """Return a function that builds a small ContraAST."""

    def build(**arguments):
        torch.manual_seed(0)
        adam = partial(torch.optim.Adam, lr=1e-3)
        settings = {"weights": "random", "discriminator_scales": 2, "discriminator_width": 4}
        model = ContraAST(adam, adam, **(settings | arguments))
        for parameter in [
            *model.generator.parameters(),
            *model.style_head.parameters(),
            *model.content_head.parameters(),
        ]:
            if parameter.ndim > 1:  # torch's own start paints all but nothing, and equal pictures contrast with nobody
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        return model

    return build


@pytest.fixture
def batch():
    """Return a function that makes a batch of h contents and h styles."""

    def make(half=3, side=64, seed=1):
        generator = torch.Generator().manual_seed(seed)
        content, style = (torch.rand(half, 3, side, side, generator=generator) for _ in range(2))
        numbers = torch.arange(half)
        return StyleBatch(content, style, numbers, [f"Artist {n}" for n in range(half)], numbers)

    return make
