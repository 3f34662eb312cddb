"""Draw negatives in several processes, one for each device."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.negatives.recipe import Drawing, Recipe
from experiments.processors import processors
from lightning_modules.errors import ImpastoError

if TYPE_CHECKING:
    from experiments.negatives.drawer import Drawer
    from lightning_modules.weights.choice import WeightsSource


class Pipeline(NamedTuple):
    """Arguments of `lightning_modules.weights.diffusion.load_diffusion`."""

    weights: WeightsSource
    model: str


_own: dict[str, Drawer] = {}  # of this process


def draw_spread(
    pipeline: Pipeline, recipe: Recipe, groups: Sequence[Sequence[Drawing]], folder: Path, places: Sequence[str]
) -> Iterator[int]:
    """Draw groups in as many processes as there are places; yield how many pictures each group brought.

    Args:
        pipeline: What every process loads.
        recipe: Of the set.
        groups: Each is drawn at once.
        folder: Where the pictures go.
        places: A device for every process.

    Raises:
        ImpastoError: If a process is ended from outside.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    queue = context.Queue()
    for place in places:
        queue.put(place)
    arguments = (pipeline, recipe, queue, len(places))
    pool = ProcessPoolExecutor(len(places), mp_context=context, initializer=_begin, initargs=arguments)
    try:
        for future in as_completed([pool.submit(_write, group, folder) for group in groups]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ImpastoError(
            "A process that drew negatives was ended, perhaps for want of memory: lower --batch or --devices, and run "
            "the command again, which goes on where it was."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(pipeline: Pipeline, recipe: Recipe, places: Any, processes: int) -> None:
    import torch

    from experiments.negatives.drawer import Drawer
    from lightning_modules.weights.diffusion import load_diffusion

    threading.Thread(target=_end_with_parent, daemon=True).start()
    place = places.get()
    if place == "cpu":
        torch.set_num_threads(max(1, min(torch.get_num_threads(), processors() // processes)))
    _own["drawer"] = Drawer(load_diffusion(*pipeline), recipe, place)


def _write(group: Sequence[Drawing], folder: Path) -> int:
    return _own["drawer"].write(group, folder)


def _end_with_parent() -> None:
    """Nobody would tell this process that its parent was killed, and it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
