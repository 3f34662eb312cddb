"""Which of many pictures are the same picture."""

import torch
from torch import Tensor

from metrics.functional.precision import as_float64

BLOCK = 2**23  # distances held at a time, 64 MB


def distinct_rows(rows: Tensor, tolerance: float = 1e-4) -> Tensor:
    """Return which feature vectors no earlier one equals up to rounding.

    A network's vector of one picture differs in the last digits with the batch that the picture came in, so equal
    pictures are not equal bit for bit. Those of different pictures are orders of magnitude further apart.

    Args:
        rows: ``(n, D)``, any float type.
        tolerance: Distance below which two vectors are one, relative to the length of the later one.

    Returns:
        ``(n,)``, bool: the first of each group of equals.

    Examples:
        >>> distinct_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])).tolist()
        [True, True, False]
    """
    rows = as_float64(rows)
    squares = rows.square().sum(1)
    distinct = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    step = max(1, BLOCK // max(1, len(rows)))
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        gaps = squares[start:stop, None] + squares[:stop] - 2 * rows[start:stop] @ rows[:stop].T
        same = gaps <= tolerance**2 * squares[start:stop, None]
        distinct[start:stop] = ~same.tril(start - 1).any(1)  # only those that came earlier
    return distinct
