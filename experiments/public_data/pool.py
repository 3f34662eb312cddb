"""Work that is spread over processes, which end when the command does, in whatever way that ends."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.processors import processors
from lightning_modules.errors import ImpastoError

Job = TypeVar("Job")
Result = TypeVar("Result")


def work_progress(title: str) -> Progress:
    """Return a bar on a terminal's standard error; no thread of it is alive when processes fork."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, auto_refresh=False)


def spread(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int | None, title: str
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result, as they are done.

    Args:
        function: Of a module, so that other processes find it.
        jobs: What it is called with.
        workers: Processes; by default one a core. One works in this process.
        title: Of the bar.

    Raises:
        ImpastoError: If a process is killed, by the lack of memory for example.
    """
    count = min(workers or processors(), len(jobs))
    with work_progress(title) as bar:
        task = bar.add_task("", total=len(jobs))
        results = ((job, function(job)) for job in jobs) if count <= 1 else _spread(function, jobs, count)
        for job, result in results:
            bar.update(task, advance=1, refresh=True)
            yield job, result


def _spread(function: Callable[[Job], Result], jobs: Sequence[Job], count: int) -> Iterator[tuple[Job, Result]]:
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        futures = {pool.submit(function, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise ImpastoError(
                "A process was killed, perhaps because memory ran out: the same command goes on, and --workers N takes "
                "fewer."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which after a SIGKILL tells nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
