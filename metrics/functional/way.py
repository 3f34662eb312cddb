"""How far along the way from one point to another a third one is."""

import torch
from torch import Tensor

from metrics.functional.checks import check_finite, check_vectors
from metrics.functional.precision import as_float64


def share_of_way(preds: Tensor, origin: Tensor, goal: Tensor) -> Tensor:
    """Return the place of the foot of every vector on the way from its origin to its goal: 0 there, 1 here.

    ``(f - o) . (g - o) / |g - o|^2``; below 0 or above 1 beyond either end. What lies beside the way does not count.

    Args:
        preds: f, ``(B, D)``, any unit.
        origin: o, ``(B, D)``.
        goal: g, ``(B, D)``.

    Returns:
        ``(B,)``, float64, without unit; nan where origin and goal are the same.

    Raises:
        ImpastoError: If the shapes differ, or a number is nan or infinite.

    Examples:
        >>> origin, goal = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> share_of_way(torch.tensor([[1.0, 5.0]]), origin, goal)
        tensor([0.5000], dtype=torch.float64)
    """
    check_vectors(preds, origin, goal)
    finite = [check_finite(part, "feature of these pictures") for part in (preds, origin, goal)]
    found, start, end = (as_float64(part) for part in finite)
    way = end - start
    length = way.square().sum(1)
    place = ((found - start) * way).sum(1) / length
    return place.masked_fill(length == 0, torch.nan)
