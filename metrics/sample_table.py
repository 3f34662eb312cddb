"""One row of numbers per sample, gathered over ranks, every sample once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from metrics.functional.precision import as_float64


class SampleTable(Metric):
    """A table with one row per sample of a split, whichever ranks and batches the samples came in.

    A distributed sampler repeats samples until all ranks have as many; a mean of running sums would count them twice,
    and a mean of batch means would weigh batches alike. Here rows are gathered, sorted by the sample's index and
    counted once, so any number of ranks gives the same table, bit for bit.

    Args:
        columns: The names of the numbers.

    Examples:
        >>> table = SampleTable(["ssim"])
        >>> table.update(torch.tensor([1, 0]), torch.tensor([7, 7]), torch.tensor([[0.25], [0.75]]))
        >>> table.update(torch.tensor([1]), torch.tensor([7]), torch.tensor([[0.25]]))
        >>> indices, groups, rows = table.compute()
        >>> indices.tolist(), rows.flatten().tolist()
        ([0, 1], [0.75, 0.25])
    """

    is_differentiable = False
    full_state_update = False
    keys: list[Tensor]
    rows: list[Tensor]

    def __init__(self, columns: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = tuple(columns)
        self.add_state("keys", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, index: Tensor, group: Tensor, rows: Tensor) -> None:
        """Add rows.

        A rank that may see no batch must add zero rows once: the gather needs a tensor of the right width from all.

        Args:
            index: ``(B,)``, int64, the sample's position in its split.
            group: ``(B,)``, int64, such as the artist's number.
            rows: ``(B, columns)``, nan where a number does not exist.

        Raises:
            ValueError: If the shapes do not fit each other or the columns.
        """
        if rows.shape != (len(index), len(self.columns)) or len(group) != len(index):
            raise ValueError(f"{len(index)} samples of {len(self.columns)} columns need as many rows")
        rows = as_float64(rows)
        self.keys.append(torch.stack((index, group), dim=1).long().to(rows.device))
        self.rows.append(rows)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return index ``(N,)``, group ``(N,)`` and rows ``(N, columns)`` of all samples, in the order of the index."""
        keys, rows = (torch.cat(state) if isinstance(state, list) else state for state in (self.keys, self.rows))
        order = keys[:, 0].argsort(stable=True)
        keys, rows = keys[order], rows[order]
        first = torch.ones(len(keys), dtype=torch.bool, device=keys.device)
        first[1:] = keys[1:, 0] != keys[:-1, 0]
        return keys[first, 0], keys[first, 1], rows[first]
