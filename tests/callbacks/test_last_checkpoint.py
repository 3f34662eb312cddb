from pathlib import Path

import pytest

from callbacks import last_checkpoint
from callbacks.last_checkpoint import LastCheckpoint


class FakeTrainer:
    is_global_zero = True
    callbacks = ()
    global_step = 0
    logger = object()

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
