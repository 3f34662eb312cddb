"""What an iteration draws depends on seed, iteration and rank, and on nothing else."""

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.experiment import Experiment


class Dice(Experiment):
    """Notes one number of every iteration; ``rank`` stands in for the process's own."""

    global_rank = None

    def __init__(self, rank):
        super().__init__()
        self.global_rank = rank
        self.weight = nn.Parameter(torch.zeros(1))
        self.thrown = []

    def training_step(self, batch, batch_idx):
        self.thrown.append(float(torch.rand(())))
        with self.optimizing(self.optimizers()) as backward:
            backward(self.weight.sum())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.fixture
def throw(quiet_trainer):
    """Return a function from seed and rank to the numbers of four iterations, over two epochs."""

    def run(seed, rank):
        seed_everything(seed)
        dice = Dice(rank)
        torch.rand(seed + 3 * rank)  # whatever was drawn before
        quiet_trainer(max_epochs=2).fit(dice, DataLoader([0, 1], batch_size=None))
        return dice.thrown

    return run


def test_every_iteration_of_every_rank_draws_its_own_numbers(throw):
    thrown = {(seed, rank): throw(seed, rank) for seed in (1, 2) for rank in (0, 1)}
    assert len({number for numbers in thrown.values() for number in numbers}) == 4 * 4
    assert throw(2, 1) == thrown[2, 1]
