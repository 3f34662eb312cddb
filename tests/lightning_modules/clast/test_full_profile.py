"""One training step of the paper's networks, with random weights."""

from pathlib import Path

import pytest
import torch
from lightning import Trainer, seed_everything
from torch.utils.data import DataLoader

from experiments.training import main
from lightning_modules.types import StyleBatch

FULL = Path(__file__).parents[3] / "experiments" / "clast" / "full.yaml"


def one_batch(size=128):  # half the paper's: what is asked is not about pictures
    generator = torch.Generator().manual_seed(0)
    content, style, reference = (torch.rand(2, 3, size, size, generator=generator) for _ in range(3))
    return StyleBatch(content, style, torch.zeros(2).long(), ["claude monet"] * 2, torch.arange(2), reference)


@pytest.mark.slow
def test_one_training_step_of_the_full_profile():
    seed_everything(0)
    cpu = ["--trainer.accelerator", "cpu", "--model.weights", "random"]
    model = main(["fit", "--config", str(FULL), *cpu], run=False).model
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        barebones=True,
    )
    trainer.fit(model, DataLoader([one_batch()], batch_size=None))
    after = dict(model.named_parameters())
    assert all(torch.isfinite(p).all() for p in after.values())
    moved = {name for name, p in before.items() if not torch.equal(p, after[name])}
    # adaLN-Zero: at the start a block's gate is shut, so nothing behind it learns before the gate has moved.
    assert {"decoder.to_rgb.convolution.weight", "fusion.blocks.0.modulation.weight", "proj.weight"} <= moved
