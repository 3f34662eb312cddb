"""Does a classifier take the picture for the artist's own?"""

import torch
from torch import Tensor

from metrics.functional.precision import as_float64

UNKNOWN = -1


def deceives(logits: Tensor, labels: Tensor) -> Tensor:
    """Return for every picture whether the target artist has the highest logit.

    Args:
        logits: ``(B, A)``, of an artist classifier.
        labels: ``(B,)``, int64, the target artist's column; `UNKNOWN` where the classifier does not know the artist.

    Returns:
        ``(B,)``, float64: 1 where it does, 0 where it does not, nan where the artist is unknown.

    Source: Sanakoyeu et al. 2018, section 4.2 (deception rate).

    Examples:
        >>> deceives(torch.tensor([[0.1, 2.0], [0.1, 2.0], [0.1, 2.0]]), torch.tensor([1, 0, -1]))
        tensor([1., 0., nan], dtype=torch.float64)
    """
    hits = as_float64(logits.argmax(1) == labels)
    return hits.masked_fill((labels == UNKNOWN).to(hits.device), torch.nan)


def average_rate(hits: Tensor, counts: Tensor, *, macro: bool = False) -> Tensor:
    """Return the share of hits.

    Args:
        hits: ``(A,)``, pictures of each artist that deceived.
        counts: ``(A,)``, pictures of each artist.
        macro: Average the artists' rates, every artist that occurs counting the same, instead of all pictures.

    Returns:
        A scalar in [0, 1], float64; nan without pictures.

    Examples:
        >>> hits, counts = torch.tensor([3, 0, 0]), torch.tensor([3, 1, 0])
        >>> float(average_rate(hits, counts)), float(average_rate(hits, counts, macro=True))
        (0.75, 0.5)
    """
    if not macro:
        return hits.sum().double() / counts.sum()
    present = counts > 0
    return (hits[present].double() / counts[present]).mean()
