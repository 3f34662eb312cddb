"""Two processes through the real command: both end with the same weights although they saw other batches."""

import os
import subprocess
import sys

import pytest
import torch

from experiments.cli import FOLDER

WITNESS = """
from pathlib import Path

import torch
from lightning.pytorch import Callback


class Witness(Callback):
    def __init__(self, folder: str):
        self.folder, self.contents = Path(folder), []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.contents.append(batch[0])  # the contents, or what else a batch is made of

    def on_train_end(self, trainer, pl_module):
        seen = {"contents": torch.stack(self.contents), "state": pl_module.state_dict(), "step": trainer.global_step}
        torch.save(seen, self.folder / f"rank{trainer.global_rank}.pt")
"""

OVERLAY = """
trainer:
  devices: 2
  strategy: ddp
  max_steps: 3
  callbacks+:
    - class_path: witness.Witness
      init_args:
        folder: {folder}
"""


@pytest.mark.slow
def test_two_ranks_see_different_batches_and_keep_equal_weights(learner, tiny, tmp_path):
    (tmp_path / "witness.py").write_text(WITNESS)
    overlay = tmp_path / "two.yaml"
    overlay.write_text(OVERLAY.format(folder=tmp_path))
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "experiments", "fit", *tiny(learner, overlay), f"--runs_dir={tmp_path}/runs"],
        cwd=FOLDER.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split()])},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["step"] == second["step"] == 3
    for one, other in zip(first["contents"], second["contents"], strict=True):
        assert not torch.equal(one, other)
    assert first["state"].keys() == second["state"].keys()
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    assert len(list((tmp_path / "runs" / learner).glob("*/checkpoints/last.ckpt"))) == 2  # the run, and latest
