from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from callbacks import last_checkpoint
from callbacks.last_checkpoint import LastCheckpoint
from lightning_modules.experiment import Experiment


class FakeTrainer:
    is_global_zero = True
    callbacks = ()
    global_step = 0
    logger = object()
    fit_loop = SimpleNamespace(_data_fetcher=None)

    def __init__(self, folder):
        self.log_dir = str(folder)
        self.saved = []
        self.strategy = self
        self.asked = []

    def save_checkpoint(self, path, weights_only):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(str(self.global_step))
        self.saved.append(self.global_step)

    def reduce_boolean_decision(self, decision, all):  # noqa: A002 - Lightning's name
        assert not all
        self.asked.append(self.global_step)
        return decision


def test_it_saves_every_n_iterations_once_and_at_the_end(tmp_path):
    callback, trainer = LastCheckpoint(every_n_iterations=3), FakeTrainer(tmp_path)
    for step in (1, 2, 3, 3, 4, 5, 6, 7):  # a step repeats while gradients accumulate
        trainer.global_step = step
        callback.on_train_batch_end(trainer, None)
    callback.on_train_end(trainer, None)
    assert trainer.saved == [3, 6, 7]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_it_saves_when_its_time_has_come_and_ranks_agree_about_it(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(last_checkpoint.time, "monotonic", lambda: now)
    callback, trainer = LastCheckpoint(every_n_iterations=1000, minutes=3), FakeTrainer(tmp_path)
    callback.on_train_start(trainer, None)
    for step in range(1, 101):
        now, trainer.global_step = 6.0 * step, step
        callback.on_train_batch_end(trainer, None)
    assert trainer.saved == [30, 60, 90]
    assert trainer.asked == list(range(10, 101, 10))


def test_a_failed_save_leaves_the_old_file_and_no_half_one(tmp_path):
    callback, trainer = LastCheckpoint(every_n_iterations=1), FakeTrainer(tmp_path)
    trainer.global_step = 1
    callback.on_train_batch_end(trainer, None)

    def fails(path, weights_only):
        Path(path).write_text("half")
        raise OSError("disk full")

    trainer.save_checkpoint = fails
    trainer.global_step = 2
    with pytest.raises(OSError, match="disk full"):
        callback.on_train_batch_end(trainer, None)
    assert (tmp_path / "checkpoints/last.ckpt").read_text() == "1"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


class Line(Experiment):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(1, 1)
        self.measured = []

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        with self.optimizing(self.optimizers()) as backward:
            backward(self.line(batch[:, None] + torch.rand(1)).square().mean())

    def validation_step(self, batch, batch_idx):
        self.measured.append((self.trainer.global_step, float(self.line(batch[:, None]).mean())))


class Dies(Callback):
    """Ends the process, as it were, in the validation after an iteration."""

    def __init__(self, step):
        self.step = step

    def on_validation_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise ZeroDivisionError


@pytest.mark.parametrize("step", [4, 8, 12])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"val_check_interval": 4},
        {"val_check_interval": 2},
        {"val_check_interval": 4, "check_val_every_n_epoch": None},
    ],
)
def test_a_validation_that_a_kill_cut_off_is_made_up(quiet_trainer, tmp_path, step, options):
    def fit(name, *callbacks, **more):
        module, logger = Line(), CSVLogger(tmp_path, name, version="")
        saving = LastCheckpoint(every_n_iterations=2)
        settings = {"max_steps": 12, "max_epochs": -1, "num_sanity_val_steps": 0, "enable_checkpointing": True}
        trainer = quiet_trainer(logger=logger, callbacks=[*callbacks, saving], **settings, **options)
        trainer.fit(module, DataLoader(torch.ones(4)), DataLoader(torch.ones(1)), weights_only=True, **more)
        return module

    straight = fit("straight")
    with pytest.raises(ZeroDivisionError):
        fit("killed", Dies(step))
    again = fit("killed", ckpt_path=tmp_path / "killed/checkpoints/last.ckpt")
    assert again.measured == [each for each in straight.measured if each[0] >= step]
    assert torch.equal(again.line.weight, straight.line.weight)
