"""A run that dies by kill -9 continues with --ckpt_path last, to the same bits as one that was left alone."""

import multiprocessing
import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.cli import FOLDER

KILLER = """
import os
import signal

from lightning.pytorch import Callback


class Killer(Callback):
    def __init__(self, iteration: int):
        self.iteration = iteration

    def on_train_batch_start(self, trainer, *args):
        if trainer.global_step == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)
"""

# An epoch has 4 iterations: the checkpoint at 6 and the kill at 7 are both in the middle of one.
SAVING = """
trainer:
  max_steps: 11
  callbacks+:
    - class_path: callbacks.last_checkpoint.LastCheckpoint
      init_args:
        every_n_iterations: 3
"""

DYING = """
trainer:
  callbacks+:
    - class_path: killer.Killer
      init_args:
        iteration: 7
"""


def command(arguments, folder, log):
    """Be `impasto` with these arguments, in a process that was forked for it."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
    os.chdir(FOLDER.parent)
    os.environ.pop("WANDB_SERVICE", None)  # of a run in the test's own process, which knows of the killed one
    sys.path.insert(0, str(folder))
    sys.argv = ["impasto", *arguments]
    from experiments.cli import run

    run()


def fit(folder, options, *more):
    """Return how the run ended and what it said."""
    log = folder / "stderr.txt"
    arguments = ["fit", *options, f"--runs_dir={folder}/runs", *more]
    process = multiprocessing.get_context("forkserver").Process(target=command, args=(arguments, folder, log))
    process.start()
    process.join(600)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode, log.read_text()


@pytest.mark.slow
@pytest.mark.bitwise
def test_a_killed_run_continues_to_the_same_weights(learner, tiny, tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    saving, dying = tmp_path / "saving.yaml", tmp_path / "dying.yaml"
    saving.write_text(SAVING)
    dying.write_text(DYING)

    code, said = fit(tmp_path, tiny(learner, saving), "--run_name=straight")
    assert code == 0, said
    code, said = fit(tmp_path, tiny(learner, saving, dying), "--run_name=killed")
    assert code == -signal.SIGKILL, said
    last = {name: tmp_path / "runs" / learner / name / "checkpoints" / "last.ckpt" for name in ("straight", "killed")}
    assert torch.load(last["killed"], weights_only=True)["global_step"] == 6
    code, said = fit(tmp_path, tiny(learner, saving), "--run_name=killed", "--ckpt_path=last")
    assert code == 0, said

    one, other = (torch.load(last[name], weights_only=True) for name in ("straight", "killed"))
    assert one["global_step"] == other["global_step"] == 11
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert same(one["optimizer_states"], other["optimizer_states"])


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


JOBS = """
data:
  init_args:
    jobs: {folder}/jobs.csv
    size: 48
    iterations: 4
trainer:
  max_steps: 12 # to the end of the last job, after which all are painted
  enable_progress_bar: false
"""


@pytest.mark.slow
@pytest.mark.bitwise
def test_a_killed_fit_of_jobs_continues_in_the_middle_of_one(tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    boxes = ("0,0,24,48", "24,0,48,24", "8,8,40,40")
    (tmp_path / "jobs.csv").write_text("image,style,box\n" + "".join(f'photo.png,wool,"{box}"\n' for box in boxes))
    overlays = {"jobs": JOBS.format(folder=tmp_path), "saving": SAVING, "dying": DYING}
    for name, text in overlays.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [FOLDER / "least/tiny.yaml", FOLDER / "least/smoke.yaml", tmp_path / "saving.yaml", tmp_path / "jobs.yaml"]
    options = [word for file in files for word in ("--config", str(file))]

    code, said = fit(tmp_path, options, "--run_name=straight")
    assert code == 0, said
    code, said = fit(tmp_path, [*options, "--config", str(tmp_path / "dying.yaml")], "--run_name=killed")
    assert code == -signal.SIGKILL, said
    runs = tmp_path / "runs/least"
    assert torch.load(runs / "killed/checkpoints/last.ckpt", weights_only=True)["global_step"] == 6
    code, said = fit(tmp_path, options, "--run_name=killed", "--ckpt_path=last")
    assert code == 0, said

    one, other = (
        torch.load(runs / name / "checkpoints/last.ckpt", weights_only=True) for name in ("straight", "killed")
    )
    assert same(one["state_dict"], other["state_dict"])
    assert same(one["optimizer_states"], other["optimizer_states"])
    pictures = sorted((runs / "straight/results").iterdir())
    assert len(pictures) == 6
    for picture in pictures:
        assert picture.read_bytes() == (runs / "killed/results" / picture.name).read_bytes(), picture.name
