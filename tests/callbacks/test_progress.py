import sys

import torch

from callbacks.progress import PlainProgress, RichBar, progress_bar, shown_metrics


class FakeTrainer:
    global_step = 7
    max_steps = 20
    sanity_checking = False
    progress_bar_metrics = {}  # noqa: RUF012
    callback_metrics = {f"train/{name}": torch.tensor(1.5) for name in "abcd"} | {"val/x": torch.tensor(2.0)}


def test_three_metrics_at_most():
    assert list(shown_metrics(FakeTrainer())) == ["a", "b", "c"]


def test_a_terminal_gets_a_bar_and_a_file_gets_lines(monkeypatch):
    for answer, kind in ((True, RichBar), (False, PlainProgress)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda answer=answer: answer)
        assert type(progress_bar()) is kind


def test_lines_come_when_their_time_has_come(capsys):
    trainer = FakeTrainer()
    for seconds, lines in ((1000.0, 0), (0.0, 1)):
        bar = PlainProgress(seconds)
        bar.on_train_start(trainer, None)
        bar.on_train_batch_end(trainer, None)
        assert len(capsys.readouterr().out.splitlines()) == lines
    bar.on_validation_end(trainer, None)
    assert "iteration 7" in capsys.readouterr().out
    bar.disable()
    bar.on_train_batch_end(trainer, None)
    assert not capsys.readouterr().out
