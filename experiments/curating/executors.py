"""Where shards are scored: in this process, in a pool, in jobs of SLURM, or on Ray.

An executor is handed the shards that are left and comes back when it has tried them all. A worker that died is no error
here: what it was doing is not finished, and `experiments.curating.rounds` asks again.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiments.curating.extras import needed
from experiments.curating.scoring import Task, score_shard, score_share

ROOT = Path(__file__).resolve().parents[2]
STORE = 512 * 2**20
"""Bytes of Ray's object store on this machine: only names of shards go through it, but Ray Data wants room."""

Done = Callable[[int], None]
Executor = Callable[[Sequence[Task], Done], None]
"""From the shards that are left, and whom to tell how many more are done."""


@dataclass(frozen=True)
class JobSettings:
    """What a job of SLURM gets.

    Attributes:
        partition: Where it runs; None leaves it to SLURM.
        minutes: Its time limit.
        gpus: Of each job.
        cpus: Of each job.
    """

    partition: str | None = None
    minutes: int = 240
    gpus: int = 0
    cpus: int = 4


def in_this_process(tasks: Sequence[Task], done: Done) -> None:
    """Score shard after shard."""
    for task in tasks:
        score_shard(task)
        done(1)


def pool(workers: int, function: Callable[[Task], Any] = score_shard) -> Executor:
    """Return what scores shards in processes of this machine.

    Args:
        workers: How many.
        function: What each does with a shard.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["experiments.curating.scoring"])  # imported once, for all workers

    def run(tasks: Sequence[Task], done: Done) -> None:
        with ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context) as processes:
            futures = [processes.submit(function, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    future.result()
                    done(1)
            except BrokenProcessPool:
                return
            except BaseException:
                processes.shutdown(wait=False, cancel_futures=True)
                raise

    return run


def jobs(cluster: str, workers: int, folder: Path, settings: JobSettings) -> Executor:
    """Return what scores shards in an array of jobs through submitit.

    Args:
        cluster: ``slurm``; ``local`` runs the same jobs as processes of this machine.
        workers: Number of jobs; each takes an equal share of the shards.
        folder: Where submitit keeps what a job is to do and what it has said.
        settings: What a job gets.
    """
    submitit = needed("submitit", "cluster")
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(
        name="impasto-curate",
        timeout_min=settings.minutes,
        gpus_per_node=settings.gpus,
        slurm_partition=settings.partition,
        slurm_array_parallelism=workers,
        slurm_cpus_per_task=settings.cpus,
    )

    def run(tasks: Sequence[Task], done: Done) -> None:
        shares = [list(tasks[number::workers]) for number in range(min(workers, len(tasks)))]
        with importable():
            submitted = executor.map_array(score_share, shares)
        for job, share in zip(submitted, shares, strict=True):
            job.wait()
            done(sum(task.finished for task in share))

    return run


def ray(address: str | None, workers: int, gpus: int) -> Executor:
    """Return what scores shards with Ray Data.

    Args:
        address: Of a cluster's head, such as ``auto`` or ``ray://host:10001``; None starts one on this machine.
        workers: How many shards at once.
        gpus: Of each worker.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    core: Any = needed("ray", "cluster")
    data: Any = needed("ray.data", "cluster")

    def run(tasks: Sequence[Task], done: Done) -> None:
        here = {"num_cpus": workers, "object_store_memory": STORE, "include_dashboard": False}
        ours = signal.getsignal(signal.SIGTERM)
        with importable():
            core.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"], "RAY_USAGE_STATS_ENABLED": "0"}},
                **({} if address else here),
            )
        signal.signal(signal.SIGTERM, ours)  # Ray's own would end this process without a word
        data.DataContext.get_current().enable_progress_bars = False
        try:
            rows = data.from_items([_as_row(task) for task in tasks], override_num_blocks=len(tasks))
            slots = data.TaskPoolStrategy(size=min(workers, len(tasks)))
            work = rows.map(_score_row, compute=slots, num_cpus=1, num_gpus=gpus)
            for _ in work.iter_rows():
                done(1)
        finally:
            core.shutdown()

    return run


def _as_row(task: Task) -> dict[str, Any]:
    """Return a task as Ray Data carries it: numbers and text."""
    return {field.name: _plain(getattr(task, field.name)) for field in fields(task)}


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else -1 if value is None else value


def _score_row(row: dict[str, Any]) -> dict[str, Any]:
    """Do a task that was sent as a row."""
    places = {name: Path(row[name]) for name in ("shard", "target", "checkpoint")}
    threads = None if row["threads"] < 0 else int(row["threads"])
    score_shard(Task(**places, min_side=row["min_side"], device=row["device"], batch=row["batch"], threads=threads))
    return row


@contextmanager
def importable() -> Iterator[None]:
    """Let processes that are started meanwhile import this repository, wherever they start."""
    before = os.environ.get("PYTHONPATH")
    paths = [str(ROOT), *(path for path in sys.path if path), *([before] if before else [])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
