"""Two processes that torchrun starts: they stop together, and a second launch leaves the first one's run alone."""

import os
import socket
import subprocess
import sys
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


def sentences(result):
    return [line for line in result.stderr.splitlines() if line.startswith("impasto:")]


@pytest.mark.slow
def test_ranks_end_together_and_a_second_launch_is_refused(stub_yaml):
    saving = {"class_path": "callbacks.last_checkpoint.LastCheckpoint", "init_args": {"every_n_iterations": 2}}
    poison = {"class_path": "stub_callbacks.Poison", "init_args": {"iteration": 3}}  # on rank 1 alone
    trainer = {"devices": 2, "strategy": "ddp", "callbacks+": [saving, poison]}
    (stub_yaml.parent / "two.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
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
