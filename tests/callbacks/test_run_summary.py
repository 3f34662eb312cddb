import json
from pathlib import Path

import torch
import yaml

from callbacks.run_summary import RunSummary


class Metrics:
    conventions = {"val/x": "how x is computed", "val/other": "not logged"}  # noqa: RUF012


class FakeTrainer:
    is_global_zero = True
    sanity_checking = False
    global_step = 12

    def __init__(self, folder):
        self.log_dir = str(folder)
        self.logger = type("Logger", (), {"log_dir": self.log_dir})()
        self.loggers = [self.logger]
        self.callbacks = [Metrics()]
        self.callback_metrics = {"val/x": torch.tensor(0.5), "train/total": torch.tensor(1.0)}
        self.strategy = type("Strategy", (), {"root_device": torch.device("mps")})()


class FakeModule:
    method = "stub"
    device = torch.device("cpu")


def test_summary_and_last_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["impasto", "fit", "--seed", "a b"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"profile": "tiny"}))
    (tmp_path / "metrics.csv").touch()
    for name in ("last", "best"):
        path = tmp_path / f"checkpoints/{name}.ckpt"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    summary, trainer = RunSummary(), FakeTrainer(tmp_path)
    summary.on_train_start(trainer, None)
    summary.on_validation_end(trainer, None)
    trainer.callback_metrics = {}
    summary.on_fit_end(trainer, FakeModule())
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["metrics"] == {"val/x": 0.5}
    assert written["conventions"] == {"val/x": "how x is computed"}
    assert (written["method"], written["profile"], written["iterations"]) == ("stub", "tiny", 12)
    assert written["device"].startswith("mps (")  # not where the module is left
    assert written["command"] == "python -m experiments fit --seed 'a b'"
    lines = [line.split()[-1] for line in capsys.readouterr().out.splitlines()[-3:]]
    assert lines == [str(Path(tmp_path, name)) for name in ("checkpoints/best.ckpt", "metrics.csv", "summary.json")]


def test_the_clock_goes_on_after_a_resume(monkeypatch):
    monkeypatch.setattr("callbacks.run_summary.time.monotonic", lambda: 100.0)
    first = RunSummary()
    monkeypatch.setattr("callbacks.run_summary.time.monotonic", lambda: 130.0)
    second = RunSummary()
    second.load_state_dict(first.state_dict())
    monkeypatch.setattr("callbacks.run_summary.time.monotonic", lambda: 135.0)
    assert second.state_dict()["seconds"] == 35.0


def test_metrics_outlive_a_resume_that_measures_nothing(tmp_path):
    first, second, trainer = RunSummary(), RunSummary(), FakeTrainer(tmp_path)
    first.on_validation_end(trainer, None)
    second.load_state_dict(first.state_dict())
    second.on_fit_end(trainer, FakeModule())
    assert json.loads((tmp_path / "summary.json").read_text())["metrics"] == {"val/x": 0.5}
