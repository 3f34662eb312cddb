"""Paint all pictures of a protocol, each once, with the clock running; what was stopped goes on."""

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.progress import Progress
from torch import Tensor

from datamodules.images import write_image
from experiments.evaluation.inputs import Inputs
from experiments.evaluation.journal import Journal
from experiments.evaluation.painters import Hand
from experiments.evaluation.protocol import Protocol, Task, file_sha256
from lightning_modules.errors import ImpastoError


@dataclass
class Work:
    """What is painted, by whom and into which files.

    Attributes:
        protocol: The pairs.
        hand: Who paints.
        inputs: The files of every pair.
        journal: What has been painted.
    """

    protocol: Protocol
    hand: Hand
    inputs: Inputs
    journal: Journal

    def paint(self, progress: Progress) -> None:
        """Paint what is missing.

        The clock counts a picture from prepared pictures on the disk to the result in the main memory, files not
        written yet; what a device computes later than it is asked to is waited for.

        Raises:
            ImpastoError: If a picture cannot be painted or written.
        """
        missing = [number for number, task in enumerate(self.protocol.tasks) if not self._is_done(task)]
        bar = progress.add_task("painting", total=len(self.protocol.tasks))
        progress.advance(bar, len(self.protocol.tasks) - len(missing))
        for _ in range(self.protocol.recipe.warm_up if missing else 0):
            self._make(missing[0])
        for number in missing:
            self._paint(number)
            progress.advance(bar)

    def seconds(self) -> dict[str, Any]:
        """Return the median time of a picture, of how many it is, and how many were painted before."""
        times = [self.journal.entries[task.id]["seconds"] for task in self.protocol.tasks]
        return {"median": median(times), "n": len(times), "warm_up": self.protocol.recipe.warm_up}

    def _paint(self, number: int) -> None:
        task = self.protocol.tasks[number]
        picture, seconds = self._make(number)
        path = self.inputs.painting(task)
        write_image(picture, path)
        self.journal.add({"id": task.id, "seconds": seconds, "sha256": file_sha256(path)})

    def _make(self, number: int) -> tuple[Tensor, float]:
        task = self.protocol.tasks[number]
        files = self.inputs.of(task)
        start = time.perf_counter()
        try:
            picture = self.hand.make(task, files, self.protocol.recipe.seed + number)  # on the CPU: nothing is pending
        except ImpastoError as error:
            raise ImpastoError(f"Pair {task.id} cannot be painted: {error}") from error
        return picture, time.perf_counter() - start

    def _is_done(self, task: Task) -> bool:
        """Tell whether a picture is there and is the one that was noted."""
        entry, path = self.journal.entries.get(task.id), self.inputs.painting(task)
        return entry is not None and path.is_file() and file_sha256(path) == entry.get("sha256")
