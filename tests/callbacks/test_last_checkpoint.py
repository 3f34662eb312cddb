from pathlib import Path

import pytest

from callbacks.last_checkpoint import LastCheckpoint


class FakeTrainer:
    is_global_zero = True
    global_step = 0
    logger = object()

    def __init__(self, folder):
        self.log_dir = str(folder)
        self.saved = []

    def save_checkpoint(self, path, weights_only):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(str(self.global_step))
        self.saved.append(self.global_step)


def test_it_saves_every_n_iterations_once_and_at_the_end(tmp_path):
    callback, trainer = LastCheckpoint(every_n_iterations=3), FakeTrainer(tmp_path)
    for step in (1, 2, 3, 3, 4, 5, 6, 7):  # a step repeats while gradients accumulate
        trainer.global_step = step
        callback.on_train_batch_end(trainer, None)
    callback.on_train_end(trainer, None)
    assert trainer.saved == [3, 6, 7]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_failed_save_leaves_the_old_file(tmp_path):
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
