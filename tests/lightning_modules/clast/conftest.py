"""CLAST on frozen networks so small that a test takes milliseconds."""

import pytest
import torch
from torch import nn

from lightning_modules.clast import CLAST, module
from lightning_modules.networks.clip import CLIPEncoder
from lightning_modules.networks.vgg import PerceptualDistance, VGGConfig, VGGEncoder, VGGTrunk

WIDTH = 32  # of the shared CLIP space


def small_vgg(weights="random", *, variant="vgg19"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trunk = VGGTrunk(VGGConfig(widths=(8, 8, 16, 16, 16), colour_conv=variant == "vgg19_normalised"))
        for conv in trunk.convs.values():
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return VGGEncoder(trunk, weights)


def small_clip(weights="random", *, model="ViT-B-32"):
    import open_clip

    vision = {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
    text = {"layers": 1, "width": 32, "heads": 2, "context_length": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.CLIP(WIDTH, vision, text)
    return CLIPEncoder(network, open_clip.SimpleTokenizer(context_length=16), f"{weights} {model}")


@pytest.fixture(scope="session")
def clip():
    return small_clip()


@pytest.fixture
def small_clast(monkeypatch):
    """Return a function that builds a small CLAST."""
    monkeypatch.setattr(module, "load_vgg", small_vgg)
    monkeypatch.setattr(module, "load_clip", small_clip)
    monkeypatch.setattr(module, "load_lpips", lambda weights: PerceptualDistance(small_vgg(weights)))

    def build(**arguments):
        torch.manual_seed(0)
        settings = {
            "weights": "random",
            "widths": (8, 16, 24),
            "decoder_width": 32,
            "patches": module.Patches(count=2, size=16),
            "validate_with": "image",
        }
        model = CLAST(torch.optim.Adam, **(settings | arguments))
        model.load_loss_networks()
        return model

    return build
