"""Networks that only losses look through: a fit loads and checks them, painting neither knows nor misses them."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.base import StyleTransferModule
from lightning_modules.errors import ImpastoError
from lightning_modules.experiment import CHECKPOINT_KEY
from lightning_modules.networks.frozen import FrozenNetwork


class Judge(FrozenNetwork):
    def __init__(self, source):
        super().__init__(source)
        self.eye = nn.Conv2d(3, 1, 1)
        self.freeze()

    def forward(self, images):
        return self.eye(images)


class Judged(StyleTransferModule):
    conditions = frozenset({"image"})

    def __init__(self, source="good"):
        super().__init__(validate_with="image")
        self.source = source
        self.mix = nn.Conv2d(3, 3, 1)
        self.judge = None
        self.recipe = "init_args: {weights: pretrained}"

    def load_loss_networks(self):
        if self.judge is None:
            self.judge = Judge(self.source)

    def _render(self, content, manner):
        return self.mix(content)

    def training_step(self, batch, batch_idx):
        with self.optimizing(self._optimizers()[0]) as backward:
            backward(self.judge(self.mix(batch)).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.mix.parameters(), lr=0.1)


@pytest.fixture
def fit(quiet_trainer):
    """Return a function that trains a module for so many steps, and returns the trainer."""

    def call(module, steps, **resume):
        trainer = quiet_trainer(max_steps=steps)
        trainer.fit(module, DataLoader(torch.rand(4, 3, 8, 8), batch_size=1), weights_only=True, **resume)
        return trainer

    return call


def test_a_fit_loads_them_and_painting_does_without(fit, tmp_path):
    module = Judged()
    assert not module.frozen_sources()
    fit(module, 1).save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert checkpoint[CHECKPOINT_KEY]["frozen"] == {"judge": "good"}
    assert set(checkpoint["state_dict"]) == {"mix.weight", "mix.bias"}
    painter = Judged("other")
    painter.on_load_checkpoint(checkpoint)
    painter.load_state_dict(checkpoint["state_dict"])
    assert painter.judge is None


def test_a_fit_that_goes_on_checks_them(fit, tmp_path, monkeypatch):
    fit(Judged(), 1).save_checkpoint(tmp_path / "a.ckpt")
    assert fit(Judged(), 2, ckpt_path=tmp_path / "a.ckpt").global_step == 2
    with pytest.raises(ImpastoError, match=r"judge weights from 'good', but other .* `weights` to pretrained"):
        fit(Judged("other"), 2, ckpt_path=tmp_path / "a.ckpt")
    monkeypatch.setattr(Judged, "load_loss_networks", lambda _: None)
    with pytest.raises(ImpastoError, match="judge weights from 'good', but none was loaded"):
        fit(Judged(), 2, ckpt_path=tmp_path / "a.ckpt")
