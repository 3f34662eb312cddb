import logging
import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.best_checkpoint import BestCheckpoint


class FakeTrainer:
    is_global_zero = True
    callbacks = ()
    sanity_checking = False
    logger = object()

    def __init__(self, folder):
        self.log_dir = str(folder)
        self.state = type("State", (), {"fn": TrainerFn.FITTING})()
        self.callback_metrics = {}
        self.saved = []

    def save_checkpoint(self, path, weights_only):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).touch()
        self.saved.append(dict(self.callback_metrics))

    def validate(self, callback, **metrics):
        before = len(self.saved)
        self.callback_metrics = {f"val/{name}": torch.tensor(value) for name, value in metrics.items()}
        callback.on_validation_end(self, None)
        return len(self.saved) > before


@pytest.mark.parametrize(
    ("mode", "values", "saves"),
    [
        ("min", [3.0, 4.0, 2.0, math.nan, 2.0, 1.0], [True, False, True, False, False, True]),
        ("max", [math.nan, 0.1, 0.3, 0.2], [False, True, True, False]),
    ],
)
def test_it_keeps_the_best(tmp_path, mode, values, saves):
    callback, trainer = BestCheckpoint("val/x", mode), FakeTrainer(tmp_path)
    assert [trainer.validate(callback, x=value) for value in values] == saves
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["best.ckpt"]


def test_what_is_not_measured_gives_way_in_one_sentence(tmp_path, caplog):
    callback, trainer = BestCheckpoint("val/deception_embedded", "max"), FakeTrainer(tmp_path)
    with caplog.at_level(logging.WARNING):
        saves = [trainer.validate(callback, ssim=0.5, style_loss_embedded=value) for value in (3.0, 4.0, 2.0)]
    assert saves == [True, False, True]  # lower is better now
    assert [record.getMessage() for record in caplog.records] == [
        "best.ckpt follows val/style_loss_embedded (lower is better), because val/deception_embedded is not measured "
        "here."
    ]


def test_the_same_metric_by_another_network_comes_first(tmp_path):
    callback, trainer = BestCheckpoint("val/deception_embedded", "max"), FakeTrainer(tmp_path)
    assert [trainer.validate(callback, style_loss=1.0, deception=value) for value in (0.1, 0.2)] == [True, True]


def test_nothing_to_follow_is_one_sentence_and_no_file(tmp_path, caplog):
    callback, trainer = BestCheckpoint("val/deception_embedded", "max"), FakeTrainer(tmp_path)
    assert not any(trainer.validate(callback, ssim=0.5) for _ in range(2))
    assert len(caplog.records) == 1


def test_a_resumed_run_follows_what_it_followed(tmp_path):
    first, trainer = BestCheckpoint("val/x", "max"), FakeTrainer(tmp_path)
    trainer.validate(first, style_loss=3.0)
    second = BestCheckpoint("val/x", "max")
    second.load_state_dict(first.state_dict())
    assert [trainer.validate(second, style_loss=value, x=1.0) for value in (3.5, 2.5)] == [False, True]


def test_only_a_fit_has_a_best(tmp_path):
    callback, trainer = BestCheckpoint("val/x"), FakeTrainer(tmp_path)
    trainer.state.fn = TrainerFn.VALIDATING
    assert not trainer.validate(callback, x=1.0)
    trainer.state.fn, trainer.sanity_checking = TrainerFn.FITTING, True
    assert not trainer.validate(callback, x=1.0)
