"""The progress bar of commands that work through files: on a terminal's standard error, nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lightning_modules.paths import shown

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_modules.base import StyleTransferModule


def file_progress() -> Progress:
    """Return the bar; its tasks carry their own description."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


@contextmanager
def watching(model: StyleTransferModule, progress: Progress, name: str) -> Iterator[None]:
    """Show the iterations of a method that optimises while it paints, and its losses, as one more bar.

    Args:
        model: The method; one that does not optimise gets no bar.
        progress: Gets the bar, and loses it in the end.
        name: Of what is painted.
    """
    if not model.optimises or progress.disable:  # a loss costs a wait for the device
        yield
        return
    title = escape(shown(name))
    task = progress.add_task(title, total=None)

    def show(iteration: int, count: int, terms: Mapping[str, Tensor]) -> None:
        losses = "  ".join(f"{term} {float(value.mean()):.3g}" for term, value in terms.items())
        progress.update(task, completed=iteration + 1, total=count, description=f"{title}  {losses}")

    model.on_iteration = show
    try:
        yield
    finally:
        model.on_iteration = None
        progress.remove_task(task)
