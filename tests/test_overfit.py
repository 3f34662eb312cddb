"""Every learner can learn one batch by heart: its own total loss falls by half, and the seed decides the curve."""

import pytest
from lightning.pytorch import Callback, LightningDataModule
from torch.utils.data import DataLoader

from experiments.cli import FOLDER
from experiments.training import main

ITERATIONS = 60
FEW = 6


class OneBatch(LightningDataModule):
    """The first training batch of another data module, again and again."""

    def __init__(self, data):
        super().__init__()
        data.prepare_data()
        data.setup("fit")
        self.artists = data.artists
        self.batch = next(iter(data.train_dataloader()))

    def train_dataloader(self):
        return DataLoader([self.batch] * ITERATIONS, batch_size=None)


class Curve(Callback):
    """Notes the total loss, and ends the run when enough is known."""

    def __init__(self, by_heart):
        self.by_heart = by_heart
        self.values = []

    @property
    def has_halved(self):
        # Prompts and crops are drawn anew every time: one low value is not enough.
        return len(self.values) > 8 and sum(self.values[-5:]) / 5 < self.values[0] / 2

    def on_train_batch_end(self, trainer, *args):
        self.values.append(float(trainer.callback_metrics["train/total"]))
        trainer.should_stop = self.has_halved


@pytest.fixture(scope="module")
def overfit(learner, tiny, quiet_trainer):
    """Return a function that trains on one batch and returns the curve of the total loss."""
    overlays = [path for path in [FOLDER / learner / "overfit.yaml"] if path.is_file()]

    def run(seed, iterations):
        cli = main(
            ["fit", *tiny(learner, *overlays), "--trainer.logger", "false", f"--seed_everything={seed}"], run=False
        )
        curve = Curve(cli.model.learns_by_heart)
        iterations = iterations if curve.by_heart else FEW
        trainer = quiet_trainer(max_steps=iterations, callbacks=[curve], limit_val_batches=0)
        trainer.fit(cli.model, datamodule=OneBatch(cli.datamodule))
        return curve

    return run


@pytest.fixture(scope="module")
def curve(overfit):
    return overfit(0, ITERATIONS)


def test_the_total_loss_falls_by_half_within_sixty_iterations(curve):
    if not curve.by_heart:
        pytest.skip("what this method trains cannot learn a batch by heart")
    assert len(curve.values) <= ITERATIONS
    assert curve.has_halved, curve.values


def test_the_same_seed_gives_the_same_curve_and_another_one_does_not(overfit, curve):
    assert overfit(0, FEW).values == curve.values[:FEW]
    assert overfit(1, FEW).values != curve.values[:FEW]
