"""One batch of the tiny profile, learnt by heart."""

import pytest
from lightning import Callback, Trainer
from torch.utils.data import DataLoader

from experiments.cli import FOLDER
from experiments.training import main

ITERATIONS = 60
LEARNT = ("style", "content", "identity_image", "identity_feature")


class Curve(Callback):
    """Notes the losses that one batch must bring down, and those of both adversaries."""

    def __init__(self):
        self.losses, self.adversary, self.critic = [], [], []

    def on_train_batch_end(self, trainer, *args):
        logged = trainer.callback_metrics
        self.losses.append(sum(float(logged[f"train/{name}"]) for name in LEARNT))
        self.adversary.append(float(logged["train/discriminator"]))
        self.critic.append(float(logged["train/critic"]))


@pytest.mark.slow
def test_style_content_and_identity_halve_and_no_adversary_collapses_or_wins(tiny):
    folder = FOLDER / "contraast"
    cli = main(["fit", *tiny("contraast", folder / "overfit.yaml"), "--trainer.logger", "false"], run=False)
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    batch = next(iter(cli.datamodule.train_dataloader()))
    curve = Curve()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=ITERATIONS,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[curve],
    )
    trainer.fit(cli.model, DataLoader([batch] * ITERATIONS, batch_size=None))
    assert sum(curve.losses[-5:]) / 5 < curve.losses[0] / 2
    assert 0.2 < sum(curve.critic[-20:]) / 20 < 2  # a hinge loss: 2 knows nothing, 0 knows everything
    assert 0.1 < sum(curve.adversary[-20:]) / 20 < 1.5  # of two scales: 1 knows nothing, 0 knows everything
