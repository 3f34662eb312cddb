"""What the tests of several methods stand on."""

from itertools import chain

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.internal_external import training
from lightning_modules.networks.vgg import VGGConfig, VGGEncoder, VGGTrunk
from lightning_modules.types import StyleBatch


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


class _Gradients(Callback):
    """Notes the gradients that every optimiser steps with."""

    def __init__(self):
        self.found = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        names = {parameter: name for name, parameter in pl_module.named_parameters()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.found.append({names[p]: p.grad.clone() for p in parameters if p.grad is not None})


@pytest.fixture
def gradients(quiet_trainer):
    """Return a function that trains on some batches, and returns the gradients of every optimiser's steps."""

    def train(model, batches, precision="64-true"):
        noted = _Gradients()
        quiet_trainer(max_epochs=1, precision=precision, callbacks=[noted]).fit(
            model, DataLoader(batches, batch_size=None)
        )
        return noted.found

    return train


@pytest.fixture
def joined():
    """Return a function that makes one batch of several."""

    def join(parts):
        def column(values):
            if torch.is_tensor(values[0]):
                return torch.cat(values)
            return None if values[0] is None else [*chain(*values)]

        return StyleBatch(*map(column, zip(*parts, strict=True)))

    return join


@pytest.fixture
def difference():
    """Return a function that gives the largest error of a parameter's gradient.

    It is relative to the parameter's own gradient, or to what is not rounding noise: in float32 the networks' own
    backward pass rounds small gradients away, and there it is relative to all of them.
    """

    def largest(found, wanted, precision="64-true"):
        assert found.keys() == wanted.keys()
        whole = float(torch.cat([gradient.flatten() for gradient in wanted.values()]).norm())
        least = whole if precision == "32-true" else 1e-3 * whole
        return max(float((found[name] - g).norm()) / max(float(g.norm()), least) for name, g in wanted.items())

    return largest
