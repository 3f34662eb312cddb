"""Does all shards, however often workers die: the finished file is the only sign that counts."""

from collections.abc import Sequence

from experiments.curating.executors import Executor
from experiments.curating.scoring import Task
from experiments.progress import file_progress
from lightning_modules.errors import ImpastoError

TRIES = 3
"""Rounds in a row that finish no shard, after which something is wrong with those that are left."""


def run_rounds(execute: Executor, tasks: Sequence[Task]) -> None:
    """Hand the shards that are left to an executor until none is.

    Args:
        execute: See `experiments.curating.executors`.
        tasks: All shards.

    Raises:
        ImpastoError: If workers die on the same shards again and again.
    """
    left = [task for task in tasks if not task.finished]
    fruitless = 0
    with file_progress() as progress:
        bar = progress.add_task("shards", total=len(tasks), completed=len(tasks) - len(left))
        while left:
            if fruitless == TRIES:
                names = ", ".join(task.shard.name for task in left[:5]) + (" and others" if len(left) > 5 else "")
                raise ImpastoError(
                    f"Workers died {TRIES} times in a row on {names}, as they do where memory runs out: take fewer "
                    "--workers or a smaller --batch; what is done stays done."
                )
            execute(left, lambda count: progress.advance(bar, count))
            before, left = len(left), [task for task in left if not task.finished]
            fruitless = fruitless + 1 if len(left) == before else 0
            progress.update(bar, completed=len(tasks) - len(left))
