"""How commands end early: with which words, which status, and what they leave behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from experiments.cli import execute
from experiments.failures import HINT, Terminated, end_on_sigterm
from lightning_modules.files import replacing

STUBS = Path(__file__).parent / "stubs"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def fit(stub_yaml, capsys):
    """Return a function from an incident and options to the status, the last line of stderr and the run's folder."""

    def run(incident, *more, **settings):
        overlay = stub_yaml.parent / "overlay.yaml"
        saving = {"class_path": "callbacks.last_checkpoint.LastCheckpoint", "init_args": {"every_n_iterations": 2}}
        callbacks = [saving]
        if incident:
            callbacks.append({"class_path": f"stub_callbacks.{incident}", "init_args": settings})
        overlay.write_text(yaml.safe_dump({"trainer": {"callbacks+": callbacks}}))
        options = ["--config", str(stub_yaml), "--config", str(overlay), "--run_name", "a", *more]
        status = execute(["fit", *options])
        lines = capsys.readouterr().err.strip().splitlines() or [""]
        return status, lines[-1], stub_yaml.parent / "runs/stub_method/a"

    return run


def saved_at(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_a_stopped_fit_says_where_to_continue(fit, number, status, word):
    ended, line, folder = fit("Signal", iteration=4, number=int(number))
    assert ended == status
    where = "continue from the last checkpoint with --run_name a --ckpt_path last."
    assert re.fullmatch(f"impasto: {word} in iteration [34]: {where}", line)
    assert saved_at(folder) in {2, 4}
    assert (folder.parent / "latest").resolve() == folder
    assert not [path for path in folder.rglob(".*") if path.is_file()]
    assert fit(None, "--ckpt_path", "last")[0] == 0
    assert saved_at(folder) == 6


def test_a_fit_that_was_stopped_before_its_first_step_leaves_nothing(fit):
    ended, line, folder = fit("Signal", "--trainer.num_sanity_val_steps", "1", iteration=0)
    assert (ended, line) == (130, "impasto: Interrupted; nothing was left behind.")
    assert not folder.exists()


def test_a_fit_that_fails_before_its_first_step_leaves_nothing_and_the_latest_as_it_was(fit):
    assert fit(None)[0] == 0
    ended, line, folder = fit("Fault", iteration=1)
    assert (ended, line) == (1, f"impasto: ZeroDivisionError: the model divides by zero ({HINT}).")
    assert [path.name for path in sorted(folder.parent.iterdir())] == ["a", "latest"]
    assert (folder.parent / "latest").resolve() == folder
    ended, _, _ = fit("Fault", iteration=2)
    assert (folder.parent / "latest").resolve().name == "a-2"


def test_a_trainer_that_cannot_be_built_leaves_nothing(fit):
    ended, line, folder = fit(None, "--trainer.val_check_interval", "1.5")
    assert ended == 1
    assert line.startswith("impasto: ")
    assert not folder.exists()


def test_a_traceback_comes_where_it_is_wanted(fit, monkeypatch):
    monkeypatch.setenv("IMPASTO_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        fit("Fault", iteration=1)


def test_a_lost_loss_stops_the_run_and_keeps_its_last_good_checkpoint(fit):
    ended, line, folder = fit("Poison", iteration=4)  # 4 is when the next checkpoint would be
    assert ended == 1
    assert "The loss term total is not finite in iteration 4" in line
    assert "last.ckpt is the last good state" in line
    assert saved_at(folder) == 2
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


def test_a_loss_that_is_lost_between_checkpoints_stops_the_run_after_the_next_iteration(fit):
    ended, line, folder = fit("Poison", iteration=3)
    assert ended == 1
    assert "total is not finite in iteration 3" in line
    assert saved_at(folder) == 2


def test_a_loss_that_is_lost_in_the_last_iteration_is_told_too(fit):
    ended, line, folder = fit("Poison", "--trainer.max_steps", "5", iteration=5)
    assert ended == 1
    assert "total is not finite in iteration 5" in line
    assert saved_at(folder) == 4


@pytest.mark.parametrize(
    ("option", "value", "instead"),
    [
        ("accumulate_grad_batches", "2", "--model.accumulate 2"),
        ("gradient_clip_val", "1.0", "--model.clip 1.0"),
        ("overfit_batches", "1", "give data that has no others"),
        ("overfit_batches", "0.5", "give data that has no others"),
    ],
)
def test_options_of_the_trainer_that_it_does_not_take_are_named(fit, option, value, instead):
    ended, line, folder = fit(None, f"--trainer.{option}", value)
    assert ended == 2
    assert instead in line
    assert not folder.exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ["validate"],
            "`impasto validate` needs a checkpoint, for nobody has trained these weights: give --ckpt_path last",
        ),
        (["test"], "`impasto test` needs a checkpoint"),
        (["predict", "--ckpt_path", "{file}"], "StubData has nothing to predict on: paint with `impasto stylize`."),
    ],
)
def test_what_cannot_be_measured_is_said_first(trained, stub_yaml, capsys, command, words):
    command = [word.format(file=trained / "checkpoints/last.ckpt") for word in command]
    assert execute([*command, "--config", str(stub_yaml)]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs").exists()


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_cut_checkpoint_is_one_sentence(trained, stub_yaml, capsys, share):
    folder = stub_yaml.parent / "runs/stub_method/cut"
    shutil.copytree(trained, folder)
    whole = (folder / "checkpoints/last.ckpt").read_bytes()
    (folder / "checkpoints/last.ckpt").write_bytes(whole[: int(share * len(whole))])
    for chosen in (["--run_name", "cut", "--ckpt_path", "last"], ["--ckpt_path", f"{folder}/checkpoints/last.ckpt"]):
        assert execute(["fit", "--config", str(stub_yaml), *chosen]) == 1
        assert "last.ckpt is cut off or damaged" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in folder.parent.iterdir()] == ["cut"]


def test_a_runs_dir_that_is_a_file_is_one_sentence(stub_yaml, capsys):
    (stub_yaml.parent / "file").touch()
    assert execute(["fit", "--config", str(stub_yaml), "--runs_dir", "file"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("impasto: file")
    assert "a file stands where a folder should be" in line


def test_records_are_closed_before_the_last_line(stub_yaml, capsys, monkeypatch):
    import wandb

    def write_report(*_):
        return SimpleNamespace(page=f"wandb runs: {wandb.run is not None}")

    monkeypatch.setattr("experiments.training.write_report", write_report)
    assert execute(["fit", "--config", str(stub_yaml), "--wandb", "offline", "--trainer.max_steps", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "report     wandb runs: False"


def test_only_what_is_nobodys_business_is_silent(stub_yaml):
    """In a process of its own: pytest has filters and a display of its own."""
    overlay = stub_yaml.parent / "overlay.yaml"
    overlay.write_text("trainer:\n  callbacks+:\n  - class_path: stub_callbacks.Warn\n")
    code = (
        "from experiments.cli import execute\n"
        "import lightning_modules, stub_method\n"
        "frozen = stub_method.Stub.setup\n"
        "stub_method.Stub.setup = lambda self, stage: (frozen(self, stage), self.net[0].eval())\n"
        f"execute(['fit', '--config', {str(stub_yaml)!r}, '--config', {str(overlay)!r}])"
    )
    path = os.pathsep.join(map(str, (ROOT, STUBS)))
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=stub_yaml.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mind the step" in result.stderr
    assert "eval mode at the start" not in result.stderr
    assert "LeafSpec" not in result.stderr


def test_sigterm_ends_a_command_like_an_exception(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()
    handler = signal.getsignal(signal.SIGTERM)

    def write():
        with replacing(tmp_path / "picture.png") as temporary:
            temporary.touch()
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with pytest.raises(Terminated) as stop:
            write()
        assert stop.value.code == 143
        assert not list(tmp_path.iterdir())
        signal.signal(signal.SIGTERM, lambda *arguments: handler(*arguments))  # as Lightning does while it trains
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_leaves_a_failure_its_words(monkeypatch, capsys):
    def explain(error):
        os.kill(os.getpid(), signal.SIGTERM)  # as torchrun does when another rank has died of the same
        return str(error)

    def fail(*_):
        raise RuntimeError("another rank is gone")

    monkeypatch.setattr("experiments.cli.explained", explain)
    monkeypatch.setattr("experiments.cli._dispatch", fail)
    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert execute(["fit"]) == 1
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "impasto: another rank is gone\n"


def test_sigterm_leaves_an_exit_its_status():
    late = "import atexit, os; atexit.register(os.kill, os.getpid(), 15)"
    command = [sys.executable, "-c", f"{late}; from experiments.cli import run; run()", "fti"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert result.returncode == 2
    assert result.stderr.startswith("impasto: 'fti' is not a command")
    assert len(result.stderr.splitlines()) == 1


def test_a_second_sigterm_leaves_the_first_its_words():
    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()

    def end():
        try:
            raise Terminated("Saved.", 0)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with pytest.raises(Terminated) as stop:
            end()
        assert stop.value.sentence == "Saved."
    finally:
        signal.signal(signal.SIGTERM, before)
