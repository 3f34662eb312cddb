import os
import signal
import sys

import pytest
import torch

from experiments.cli import execute
from experiments.runs import requeue
from experiments.runs.table import read_table


@pytest.fixture
def job(monkeypatch, stub_yaml):
    """Be job 17 of a SLURM, in which everything is asked of a program that this fixture puts on the path."""
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("SLURM_NODEID", "0")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    folder = stub_yaml.parent / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def answer(text):
        path = folder / "scontrol"
        path.write_text(f"#!{sys.executable}\nimport sys\n{text}\n")
        path.chmod(0o755)

    yield answer
    for number, handler in before.items():
        signal.signal(number, handler)


def signalled(iteration, steps=30):
    """Return options of a fit to which the signal comes in one of its iterations."""
    incident = '{"class_path": "stub_callbacks.Signal", "init_args": {"iteration": %d, "number": %d}}'
    callback = incident % (iteration, signal.SIGUSR1)
    return ["fit", "--config", "tiny.yaml", "--trainer.max_steps", str(steps), f"--trainer.callbacks+={callback}"]


@pytest.mark.parametrize(("iteration", "saved"), [(3, 10), (14, 20)])
def test_the_signal_saves_between_iterations_and_requeues(job, stub_yaml, capsys, iteration, saved):
    job("open('asked', 'w').write(' '.join(sys.argv[1:]))")
    assert execute(signalled(iteration)) == 0
    assert (stub_yaml.parent / "asked").read_text() == "requeue 17"
    assert f"impasto: Saved in iteration {saved} and requeued" in capsys.readouterr().err
    run = stub_yaml.parent / "runs/stub_method/slurm-17"
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == saved
    assert [step for step, _ in read_table(run / "metrics.csv")["train/total"]] == list(range(saved))


def test_the_end_that_slurm_gives_a_requeued_job_disturbs_neither_it_nor_its_question(job, capsys):
    job("import os, signal; [os.kill(each, signal.SIGTERM) for each in (os.getppid(), os.getpid())]")
    assert execute(signalled(3)) == 0
    assert "impasto: Saved in iteration 10 and requeued" in capsys.readouterr().err


def test_a_job_that_is_not_requeued_says_that_it_is_saved(job, capsys):
    job("sys.exit('Requested operation is presently disabled')")
    assert execute(signalled(3)) == 1
    said = capsys.readouterr().err
    assert "SLURM does not requeue job 17 (Requested operation is presently disabled)" in said
    assert "The run is saved" in said


def test_a_signal_in_the_last_iterations_lets_the_run_end(job, stub_yaml):
    job("open('asked', 'w').write('')")
    assert execute(signalled(35, steps=40)) == 0  # and with a validation
    assert not (stub_yaml.parent / "asked").exists()


def test_a_task_of_an_array_is_requeued_alone(job, monkeypatch, stub_yaml):
    job("open('asked', 'w').write(' '.join(sys.argv[1:]))")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "17")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert requeue.requeue() == ""
    assert (stub_yaml.parent / "asked").read_text() == "requeue 17_3"


def test_a_cluster_without_scontrol_is_an_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("PATH", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)
    assert "cannot be asked to requeue job 17" in requeue.requeue()
    assert signal.getsignal(signal.SIGTERM) is before
