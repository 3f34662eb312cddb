"""One training step of the classifier, written out."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from lightning_modules.classifiers.artist import ArtistClassification
from lightning_modules.types import StyleBatch

RATE = 1e-2
ARTISTS = ("Ada", "Bob", "Cid")


class Data(LightningDataModule):
    artists = ARTISTS

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def train_dataloader(self):
        return DataLoader([self.batch], batch_size=None)


@pytest.mark.parametrize("referred", [True, False])
def test_a_step_descends_the_smoothed_cross_entropy_of_both_paintings(quiet_trainer, referred):
    torch.manual_seed(0)
    pictures = torch.rand(3, 4, 3, 32, 32, dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 2])
    batch = StyleBatch(*pictures[:2], labels, [ARTISTS[n] for n in labels], torch.arange(4))
    batch = batch._replace(reference=pictures[2]) if referred else batch
    net = ArtistClassification(partial(torch.optim.SGD, lr=RATE), widths=(8,), depths=(1,), smoothing=0.1)
    starts = []
    net.augment = lambda crops: starts.append(deepcopy(net.network)) or 1 - crops  # called in the step, before it moves
    trainer = quiet_trainer(max_steps=1, precision="64-true")
    trainer.fit(net, datamodule=Data(batch))

    (start,) = starts
    seen = [(picture, label) for picture, label in zip(batch.style, labels, strict=True)]
    if referred:
        seen += zip(batch.reference, labels, strict=True)
    logits = start(torch.stack([1 - picture for picture, _ in seen]))
    loss = right = 0
    for row, (_, label) in zip(logits, seen, strict=True):
        wanted = [0.1 / 3 + (0.9 if artist == label else 0) for artist in range(3)]
        loss -= sum(q * value for q, value in zip(wanted, row - row.exp().sum().log(), strict=True)) / len(seen)
        right += float(row.argmax() == label) / len(seen)
    gradients = torch.autograd.grad(loss, list(start.parameters()))
    stepped = net.network.parameters()
    for (name, old), new, gradient in zip(start.named_parameters(), stepped, gradients, strict=True):
        assert torch.allclose(new, old - RATE * gradient, rtol=1e-9, atol=1e-12), name
    assert float(trainer.callback_metrics["train/total"]) == pytest.approx(float(loss.detach()))
    assert float(trainer.callback_metrics["train/accuracy"]) == pytest.approx(right)
