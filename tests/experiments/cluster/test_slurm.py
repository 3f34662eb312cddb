"""slurm.sbatch on a real SLURM of two nodes: a signal sends a training back into the queue, a failure ends it."""

import csv
import stat
import sys

import pytest
import torch
import yaml

from datamodules.sources import ProceduralArt

STEPS = 40
SETTINGS = {
    "data": {"init_args": {"size": 64, "val_batch_size": 2, "batches_per_epoch": 7}},
    "trainer": {
        "max_steps": STEPS,
        "val_check_interval": 1000,
        "check_val_every_n_epoch": None,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
    },
}
SHAPE = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1")


@pytest.fixture(scope="module")
def short(small_data, tmp_path_factory):
    """Return overlays that make a few seconds of a training, on pictures that are there: nodes would paint at once."""
    data = yaml.safe_load(small_data.read_text())["data"]["init_args"]
    ProceduralArt(data["root"], size=data["picture_size"], contents_per_split=data["contents_per_split"]).prepare()
    overlay = tmp_path_factory.mktemp("short") / "short.yaml"
    overlay.write_text(yaml.safe_dump(SETTINGS))
    return f"smoke {small_data} {overlay}"


def submit(cluster, folder, *options, shape=SHAPE, fake=sys.executable, **variables):
    """Submit the launch file; return the job's number and its log."""
    log = folder / "slurm.log"
    command = ["sbatch", "--parsable", *shape, f"--output={log}", "experiments/cluster/slurm.sbatch", *options]
    environment = {"PYTHON": fake, "OMP_NUM_THREADS": "1", "RUNS": str(folder / "runs")}
    # Nodes are found by their names, which only SLURM knows here.
    return cluster.call(*command, **environment, MASTER_ADDR="127.0.0.1", **variables), log


def state(cluster, job):
    return cluster.job(job)["JobState"]


def ended(cluster, job):
    return state(cluster, job) in {"COMPLETED", "FAILED", "CANCELLED"}


def begun(run):
    return (run / "metrics.csv").is_file() and len(rows(run / "metrics.csv")) > 1


def script(folder, text):
    """Return a program that the launch file takes for Python."""
    path = folder / "python"
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def rows(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_signal_requeues_a_training_which_goes_on_where_it_was(cluster, wait_for, short, tmp_path):
    job, log = submit(cluster, tmp_path, METHOD="contraast", PROFILE="tiny", OVERLAYS=short)
    run = tmp_path / f"runs/contraast/slurm-{job}"

    def tell():
        return f"{cluster.job(job)}\n{log.read_text() if log.is_file() else 'no log'}"

    wait_for(lambda: begun(run) or ended(cluster, job), 240, tell)
    cluster.call("scancel", "--signal=USR1", job)
    wait_for(lambda: (run / "checkpoints/last.ckpt").is_file() or ended(cluster, job), 120, tell)
    first = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    wait_for(lambda: ended(cluster, job), 240, tell)
    assert state(cluster, job) == "COMPLETED", tell()
    assert cluster.job(job)["Restarts"] == "1"
    assert 0 < first < STEPS
    assert f"impasto: Saved in iteration {first} and requeued: the job continues there." in log.read_text()
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == STEPS
    steps = [int(row["step"]) for row in rows(run / "metrics.csv") if row["train/content"]]
    assert steps == list(range(STEPS))  # none twice, none lost
    assert not list(tmp_path.glob("**/hpc_ckpt*"))


def test_a_task_that_fails_ends_the_job_at_once(cluster, wait_for, tmp_path):
    fake = script(
        tmp_path,
        'if [ "$SLURM_PROCID" = 1 ]; then echo "the second is out of order" >&2; sleep 1; exit 3; fi; sleep 50',
    )
    job, log = submit(cluster, tmp_path, METHOD="clast", fake=fake)
    wait_for(lambda: ended(cluster, job), 60, lambda: cluster.job(job))
    assert state(cluster, job) == "FAILED"
    assert "the second is out of order" in log.read_text()


def test_fewer_tasks_than_devices_are_refused(cluster, wait_for, tmp_path):
    fake = script(tmp_path, "echo started")
    shape = ("--nodes=2", "--ntasks-per-node=2", "--ntasks=3", "--gpus-per-node=1", "--cpus-per-task=1", "--overcommit")
    job, log = submit(cluster, tmp_path, shape=shape, METHOD="clast", fake=fake)
    wait_for(lambda: ended(cluster, job), 60, lambda: cluster.job(job))
    assert "SLURM gave 3 tasks, not 2 on each of 2 nodes" in log.read_text()
    assert "started" not in log.read_text()
