"""A W&B server that is not there, hangs, refuses, or dies or stalls on the way: the run does not care."""

import time

import pytest
import wandb

from benchmarks.wandb_server import stand_in
from experiments.cli import execute
from experiments.runs import run as runs


@pytest.fixture
def server(request, monkeypatch):
    """Stand in for W&B's server of one kind."""
    wandb.teardown()  # it remembers where the server was
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setattr(runs, "END", 2)
    with stand_in(request.param) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        yield request.param


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        ("absent", "W&B cannot be reached"),
        ("hangs", "W&B cannot be reached"),
        ("errs", "W&B cannot be reached"),
        ("dies", "W&B has not taken all of the run within 2 s: `wandb sync "),
        ("stalls", "W&B has not taken all of the run within 2 s: `wandb sync "),
    ],
    indirect=["server"],
)
def test_a_run_does_not_depend_on_the_server(server, sentence, stub_yaml, monkeypatch, capsys):
    if server not in ("dies", "stalls"):
        monkeypatch.setattr(runs, "BEGINNING", 2)
    start = time.monotonic()
    assert execute(["fit", "--config", str(stub_yaml), "--run_name", "r", "--wandb", "online"]) == 0
    assert time.monotonic() - start < 90
    folder = stub_yaml.parent / "runs/stub_method/r"
    assert {"config.yaml", "metrics.csv", "summary.json", "samples", "checkpoints", "report"} <= {
        path.name for path in folder.iterdir()
    }
    assert list(folder.glob("wandb/*run-*/run-*.wandb"))
    out = capsys.readouterr().out
    told = [line for line in out.splitlines() if sentence in line]
    assert len(told) == 1, out
