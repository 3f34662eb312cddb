"""Two processes that torchrun starts: they stop together, and a second launch leaves the first one's run alone."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from experiments.runs.run import NAME_VARIABLE

ROOT = Path(__file__).parents[2]


def launch(folder, *options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    fit = ["-m", "experiments", "fit", f"--config={folder}/tiny.yaml", f"--config={folder}/two.yaml", "--run_name=a"]
    path = os.pathsep.join(map(str, (ROOT, Path(__file__).parent / "stubs")))
    environment = {key: value for key, value in os.environ.items() if key != NAME_VARIABLE}  # of a run in this process
    return subprocess.run(  # noqa: S603
        [sys.executable, *torchrun, *fit, *options],
        cwd=folder,
        env={**environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def overlay(folder, *callbacks):
    """Write an overlay for two ranks, on which something happens; it is saved every two iterations."""
    saving = {"class_path": "callbacks.last_checkpoint.LastCheckpoint", "init_args": {"every_n_iterations": 2}}
    incidents = [{"class_path": f"stub_callbacks.{name}", "init_args": {"iteration": 3}} for name in callbacks]
    trainer = {"devices": 2, "strategy": "ddp", "callbacks+": [saving, *incidents]}
    (folder / "two.yaml").write_text(yaml.safe_dump({"trainer": trainer}))


def sentences(result):
    return [line for line in result.stderr.splitlines() if line.startswith("impasto:")]


@pytest.mark.slow
@pytest.mark.parametrize(("incident", "said"), [("LonelyFault", "(rank 1 on "), ("LonelyKill", "Signal 9 (SIGKILL)")])
def test_a_rank_that_dies_ends_the_other_at_once_and_is_named(stub_yaml, incident, said):
    overlay(stub_yaml.parent, incident)
    result = launch(stub_yaml.parent)
    assert result.returncode == 1
    assert time.time() - float((stub_yaml.parent / "died").read_text()) < 60  # where nobody says it, 30 minutes
    assert said in result.stderr
    assert ("impasto: Another process of this training has ended" in result.stderr) or "Terminated" in result.stderr
    if incident == "LonelyFault":
        assert "ZeroDivisionError: rank 1 divides by zero" in result.stderr
    checkpoint = stub_yaml.parent / "runs/stub_method/a/checkpoints/last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 2


@pytest.mark.slow
def test_ranks_end_together_and_a_second_launch_is_refused(stub_yaml):
    overlay(stub_yaml.parent, "Poison")
    checkpoint = stub_yaml.parent / "runs/stub_method/a/checkpoints/last.ckpt"

    first = launch(stub_yaml.parent)
    assert first.returncode == 1, first.stderr
    (sentence,) = sentences(first)
    assert "The loss term total is not finite in iteration 3" in sentence
    before = checkpoint.read_bytes()
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 2

    second = launch(stub_yaml.parent)
    assert second.returncode == 1
    assert sentences(second) == [
        "impasto: The run runs/stub_method/a is there already: continue it with --ckpt_path last, or take another "
        "--run_name."
    ]
    assert checkpoint.read_bytes() == before
    assert sorted(path.name for path in checkpoint.parents[2].iterdir()) == ["a", "latest"]
