"""From the options of `impasto curate` to shards that know all they need, and to who does them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from experiments.curating.executors import Executor, JobSettings, in_this_process, jobs, pool, ray
from experiments.curating.scoring import Task
from experiments.painting.inference import choose_device
from experiments.processors import processors


def tasks_of(args: argparse.Namespace, checkpoint: Path, shards: Sequence[Path]) -> list[Task]:
    """Return a task for every shard.

    On this machine GPUs are dealt out in turn; a job of SLURM and a worker of Ray see their own as the first.

    Args:
        args: The options.
        checkpoint: Of the predictor, an absolute path.
        shards: Tar files.
    """
    device = args.device if args.executor in {"slurm", "ray"} else choose_device(args.device).type
    count = torch.cuda.device_count() if device == "cuda" and args.executor in {"pool", "local"} else 0
    threads = _threads(args)
    return [
        Task(
            shard.resolve(),
            (args.out / "scores" / f"{shard.stem}.parquet").resolve(),
            checkpoint,
            args.min_side,
            f"cuda:{number % count}" if count else device,
            args.batch,
            threads,
        )
        for number, shard in enumerate(shards)
    ]


def executor_of(args: argparse.Namespace) -> Executor:
    """Return what the options name.

    Raises:
        ImpastoError: If a package for it is missing.
    """
    workers = workers_of(args)
    gpus = 1 if args.device == "cuda" else 0
    if args.executor == "loop":
        return in_this_process
    if args.executor == "pool":
        return pool(workers)
    if args.executor == "ray":
        return ray(args.address, workers, gpus)
    settings = JobSettings(args.partition, args.minutes, gpus, args.cpus)
    return jobs(args.executor, workers, (args.out / "jobs").resolve(), settings)


def workers_of(args: argparse.Namespace) -> int:
    """Return how many processes or jobs there are: by default one a GPU, or one a processor."""
    if args.workers is not None:
        return int(args.workers)
    if choose_device(args.device).type == "cuda" and args.executor == "pool":
        return torch.cuda.device_count()
    return processors()


def _threads(args: argparse.Namespace) -> int | None:
    """Share this machine's processors among its workers; a job has its own."""
    if args.executor == "slurm":
        return int(args.cpus)
    if args.executor == "loop" or (args.executor == "ray" and args.address):
        return None
    return max(1, processors() // workers_of(args))
