"""Does a classifier take the picture for the artist's own?"""

import torch
from torch import Tensor

from lightning_modules.errors import ImpastoError
from metrics.functional.checks import check_finite
from metrics.functional.precision import as_float64

UNKNOWN = -1


def deceives(logits: Tensor, labels: Tensor, top: int = 1, *, none: bool = False) -> Tensor:
    """Return for every picture whether the target artist is among those with the highest logits.

    Of equal logits the first column counts as the highest, and none of the artists as higher than any.

    Args:
        logits: ``(B, A)``, of an artist classifier; with ``none`` ``(B, A + 1)``.
        labels: ``(B,)``, int64, the target artist's column; `UNKNOWN` where the classifier does not know the artist.
        top: How many artists count as highest, at least 1.
        none: Whether the last column stands for none of the artists. The target must then be above it, too, however
            many artists count.

    Returns:
        ``(B,)``, float64: 1 where it is, 0 where it is not, nan where the artist is unknown.

    Raises:
        ImpastoError: If the shapes do not fit, a logit is nan or infinite, or a label is none of the columns.

    Source: Sanakoyeu et al. 2018, section 4.2 (deception rate, with ``top`` 1).

    Examples:
        >>> logits = torch.tensor([[0.1, 2.0, 1.0]]).expand(4, 3)
        >>> deceives(logits, torch.tensor([1, 0, 2, -1])), deceives(logits, torch.tensor([1, 0, 2, -1]), top=2)[:3]
        (tensor([1., 0., 0., nan], dtype=torch.float64), tensor([1., 0., 1.], dtype=torch.float64))
        >>> deceives(logits[:2], torch.tensor([1, 0]), top=2, none=True)
        tensor([1., 0.], dtype=torch.float64)
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ImpastoError(f"Logits (B, A) need labels (B,), got {tuple(logits.shape)} and {tuple(labels.shape)}.")
    if top < 1:
        raise ImpastoError(f"The target must be among the first {top} artists: take 1 or more.")
    check_finite(logits, "logit of the artist classifier")
    labels, artists = labels.to(logits.device).long(), logits.shape[1] - none
    if bool(((labels < UNKNOWN) | (labels >= artists)).any()):
        raise ImpastoError(f"Artists must be numbers of the {artists} classes, or {UNKNOWN} for none of them.")
    ours = logits.gather(1, labels.clamp(min=0)[:, None])
    named = logits[:, :artists]
    columns = torch.arange(artists, device=logits.device)
    ahead = (named > ours) | ((named == ours) & (columns < labels[:, None]))
    refused = (logits[:, artists:] >= ours).any(1)
    hits = as_float64((ahead.sum(1) < top) & ~refused)
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
