"""What the tests of several methods stand on."""

import pytest
import torch
from torch import nn

from lightning_modules.internal_external import training
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk


def _small_vgg(weights="random", *, variant="vgg19_normalised"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = VGGTrunk(VGGConfig(widths=(4, 6, 8, 12, 12), padding="reflect", ceil_mode=True, colour_conv=True))
        for conv in trunk.convs.values():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return VGGEncoder(trunk, weights)


@pytest.fixture
def small_encoder(monkeypatch):
    """Let ContraAST and NeAT see through an encoder so small that a test takes milliseconds."""
    monkeypatch.setattr(training, "load_vgg", _small_vgg)
