"""Contents of one colour: where nothing but the painter gives marks a direction."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.contenders.stylists import Task, eight_bits
from benchmarks.gallery.held_out import HeldOut
from datamodules.procedural.contents import Content
from datamodules.procedural.dataset import paint
from metrics.functional.anisotropy import relative_anisotropy

COLOURS = {"sky": (143, 180, 222), "sand": (201, 176, 131)}


class FlatContents:
    """Every painter's contents of one colour, and how directed their paintings are beside his own.

    Args:
        pairs: Their sizes and styles are taken.

    Attributes:
        tasks: One for each painter and colour.
        again: The painters' own pictures of these contents, painted a second time: what chance does to the figure.
    """

    convention = (
        "energy of gradients along rows over that along columns, on contents of one colour, as a ratio to that of the "
        "painters' own pictures of them, whichever way; 1 is as directed as these; geometric means over all painters, "
        "so that a direction shows which all have in common"
    )

    def __init__(self, pairs: HeldOut) -> None:
        size = pairs.truths.shape[-1]
        colours = [torch.tensor(rgb, dtype=torch.uint8).view(3, 1, 1).repeat(1, size, size) for rgb in COLOURS.values()]
        self.tasks = [Task(flat, style, name) for name, style in pairs.first_style().items() for flat in colours]
        self._truths = torch.stack([_painted(task, "flat") for task in self.tasks])
        self.again = [_painted(task, "again") for task in self.tasks]

    def relative(self, pictures: Sequence[Tensor]) -> float:
        """Return how many times as directed somebody's pictures are, one for each task; at least 1."""
        return float(relative_anisotropy(torch.stack(list(pictures)), self._truths))

    def by_painter(self, pictures: Sequence[Tensor]) -> dict[str, float]:
        """Return the same painter by painter."""
        rows: dict[str, list[int]] = defaultdict(list)
        for number, task in enumerate(self.tasks):
            rows[str(task.prompt)].append(number)
        return {
            name: float(relative_anisotropy(torch.stack([pictures[n] for n in numbers]), self._truths[numbers]))
            for name, numbers in rows.items()
        }


def _painted(task: Task, title: str) -> Tensor:
    image = task.content.permute(1, 2, 0).numpy().astype(np.float32) / np.float32(255)
    painted = paint(Content(title, "", image), str(task.prompt), seed=0)
    return eight_bits(torch.from_numpy(painted).permute(2, 0, 1).clamp(0, 1))
